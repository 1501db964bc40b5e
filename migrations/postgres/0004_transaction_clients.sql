-- Whose authorization a transaction is, so that a registration is not evicted in the middle of one (DCR-11). Empty in
-- the transactions of an older version, which live for minutes.

ALTER TABLE transactions ADD COLUMN client_hash BYTEA;
CREATE INDEX transactions_by_client ON transactions (client_hash);
