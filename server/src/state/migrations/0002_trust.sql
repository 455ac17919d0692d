-- Tokens for machines. What a token is allowed is JSON; a digest stands for the token.
CREATE TABLE api_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL,
    name TEXT NOT NULL,
    allowed TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL
);

-- One row for each call to a paid model, and for each one that a cache saved. Money is in millionths of a yen.
CREATE TABLE calls (
    id TEXT NOT NULL PRIMARY KEY,
    instance TEXT NOT NULL,
    owner TEXT NOT NULL,
    answer_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    state TEXT NOT NULL,
    reserved BIGINT NOT NULL,
    input_cost BIGINT NOT NULL,
    output_cost BIGINT NOT NULL,
    total_cost BIGINT NOT NULL,
    saved_cost BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    thought_tokens BIGINT NOT NULL,
    day TEXT NOT NULL,
    began_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    -- When the row was claimed for the log spreadsheet, and when it stood there; 0 for not yet, -1 where the row that stands
    -- there says what was presumed before the cost was known.
    claimed_at BIGINT NOT NULL,
    exported_at BIGINT NOT NULL
);

CREATE INDEX calls_by_state ON calls (state, began_at);
CREATE INDEX calls_by_day ON calls (day);
CREATE INDEX calls_to_export ON calls (exported_at, claimed_at);

-- What is spent of each limit, and what is reserved beside it: one row for a day, a month, a caller's day.
CREATE TABLE budgets (
    name TEXT NOT NULL PRIMARY KEY,
    spent BIGINT NOT NULL,
    reserved BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    -- The percent of the limit that somebody was last told of, by what is spent.
    warned BIGINT NOT NULL,
    -- 1 once somebody was told that a call found no room.
    refused BIGINT NOT NULL
);

-- Who saw whose records. Each row holds the digest of the one before it in the same chain.
CREATE TABLE audit (
    chain TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    at BIGINT NOT NULL,
    caller TEXT NOT NULL,
    role TEXT NOT NULL,
    action TEXT NOT NULL,
    detail TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (chain, sequence)
);

-- Clients of whom nothing may be kept any more.
CREATE TABLE forgotten (
    client TEXT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
);

-- Whose records an answer showed: JSON, pairs of client and domain.
ALTER TABLE exchanges ADD COLUMN shown TEXT NOT NULL DEFAULT '[]';
