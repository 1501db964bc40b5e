-- What the provider said of the person in this login: a login to another organisation, or in another's name, is
-- another matter.
ALTER TABLE login_sessions ADD COLUMN person TEXT;
