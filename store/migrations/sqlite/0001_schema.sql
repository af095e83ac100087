CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    email TEXT NOT NULL COLLATE NOCASE,
    created_at INTEGER NOT NULL DEFAULT (unixepoch()),
    CONSTRAINT users_name_length CHECK (length(name) <= 100),
    CONSTRAINT users_email_length CHECK (length(email) <= 150),
    CONSTRAINT users_email_unique UNIQUE (email)
) STRICT;

CREATE TABLE IF NOT EXISTS products (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    sku TEXT NOT NULL,
    price_cents INTEGER NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (unixepoch()),
    CONSTRAINT products_name_length CHECK (length(name) <= 150),
    CONSTRAINT products_sku_length CHECK (length(sku) <= 64)
) STRICT;

CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL CONSTRAINT orders_user REFERENCES users (id) ON DELETE CASCADE,
    total_cents INTEGER NOT NULL,
    created_at INTEGER NOT NULL DEFAULT (unixepoch())
) STRICT;

CREATE TABLE IF NOT EXISTS order_items (
    id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL CONSTRAINT order_items_order REFERENCES orders (id) ON DELETE CASCADE,
    product_id INTEGER NOT NULL CONSTRAINT order_items_product REFERENCES products (id) ON DELETE RESTRICT,
    quantity INTEGER NOT NULL DEFAULT 1,
    unit_price_cents INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS stocks (
    product_id INTEGER PRIMARY KEY CONSTRAINT stocks_product REFERENCES products (id) ON DELETE RESTRICT,
    quantity INTEGER NOT NULL DEFAULT 0,
    version INTEGER NOT NULL DEFAULT 0,
    CONSTRAINT stocks_quantity_range CHECK (quantity BETWEEN -2147483648 AND 2147483647)
) STRICT;

CREATE TABLE IF NOT EXISTS idempotency_keys (
    idem_key TEXT NOT NULL,
    route TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    status INTEGER,
    body BLOB,
    created_at INTEGER NOT NULL DEFAULT (unixepoch()),
    PRIMARY KEY (idem_key, route)
) STRICT;

CREATE INDEX IF NOT EXISTS order_items_order_id ON order_items (order_id);
CREATE INDEX IF NOT EXISTS orders_created_at ON orders (created_at);
CREATE INDEX IF NOT EXISTS idempotency_keys_created_at ON idempotency_keys (created_at);
