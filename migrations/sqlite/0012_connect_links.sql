-- The link to connect a server behind that a browser's login, or sign-out at the provider, leads back to.

ALTER TABLE browsers ADD COLUMN connects TEXT;
