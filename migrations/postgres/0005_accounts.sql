-- A person's own page: when a grant was last used, and a login that leads to that page instead of to a consent.

ALTER TABLE grants ADD COLUMN last_used_at BIGINT;

-- The provider `state` of a login that belongs to no transaction; one for a browser.
ALTER TABLE browsers ADD COLUMN state_hash BYTEA;
ALTER TABLE browsers ADD COLUMN state_armed_at BIGINT;
-- The transaction to come back to after a sign-out at the provider.
ALTER TABLE browsers ADD COLUMN resumes TEXT;
