CREATE INDEX IF NOT EXISTS orders_user_total ON orders (user_id, total_cents);
CREATE INDEX IF NOT EXISTS order_items_product_quantity ON order_items (product_id, quantity);
