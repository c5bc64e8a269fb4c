-- A shop's accounts, and the outbox beside them: what happened to an account is written in the transaction that made it happen.

CREATE TABLE account (
    id bigint PRIMARY KEY,
    balance_cents bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0 -- counts the changes; the events of one account carry 1, 2, 3 ...
);

CREATE TABLE outbox (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- orders the events of one aggregate, whose row is locked when it is taken
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),      -- the transaction that wrote the event; tells the relay what it has not seen
    aggregate text NOT NULL,                             -- becomes the record's key
    kind text NOT NULL,
    payload jsonb NOT NULL,
    created timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX outbox_xid ON outbox (xid);
