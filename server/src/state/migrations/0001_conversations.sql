-- Both homes speak this SQL: whole numbers are BIGINT, moments are milliseconds since 1970 in UTC, and nothing is NULL.

CREATE TABLE conversations (
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    title TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (owner, id)
);

CREATE INDEX conversations_by_time ON conversations (owner, updated_at);

-- A question and its answer: one row, so that neither is ever there without the other.
CREATE TABLE exchanges (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    conversation_id TEXT NOT NULL,
    question_id TEXT NOT NULL,
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    context_ids TEXT NOT NULL,
    suggested_terms TEXT NOT NULL,
    record TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    answered_at BIGINT NOT NULL,
    FOREIGN KEY (owner, conversation_id) REFERENCES conversations (owner, id) ON DELETE CASCADE
);

CREATE INDEX exchanges_by_time ON exchanges (owner, conversation_id, asked_at, id);

CREATE TABLE feedback (
    message_id TEXT NOT NULL REFERENCES exchanges (id) ON DELETE CASCADE,
    owner TEXT NOT NULL,
    rating BIGINT NOT NULL,
    comment TEXT NOT NULL,
    suggested_terms TEXT NOT NULL,
    term_feedback TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (message_id, owner)
);

CREATE TABLE term_decisions (
    owner TEXT NOT NULL,
    term TEXT NOT NULL,
    canonical TEXT NOT NULL,
    accepted BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (owner, term, canonical)
);
