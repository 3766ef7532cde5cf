-- Recurring work: body is the series with what each occurrence runs; next_at is when the next one is due, 0 once it has ended.
CREATE TABLE series (
  pk INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, session_id TEXT, body BLOB NOT NULL,
  created_at REAL NOT NULL, next_at REAL NOT NULL, ended_at REAL NOT NULL DEFAULT 0, occurrences INTEGER NOT NULL DEFAULT 0,
  last TEXT, cancelled INTEGER NOT NULL DEFAULT 0, idempotency_key TEXT
);
CREATE INDEX series_due ON series (next_at) WHERE next_at > 0;
CREATE UNIQUE INDEX series_idempotency ON series (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
