-- What a record of a call says of it, as JSON: method, name, hash of the arguments, status, milliseconds.
ALTER TABLE audit ADD COLUMN call TEXT;
