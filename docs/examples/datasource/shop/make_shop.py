"""Makes what sources.yaml names, in the current directory: ``shop.db``, and ``www/prices.json`` for a server."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

ORDERS = [("Ada", 1250), ("Ada", 300), ("Lin", 8900)]

with closing(sqlite3.connect("shop.db")) as shop, shop:
    shop.execute("CREATE TABLE IF NOT EXISTS customers (name TEXT PRIMARY KEY)")
    shop.execute("CREATE TABLE IF NOT EXISTS orders (customer TEXT, cents INTEGER)")
    if not shop.execute("SELECT count(*) FROM orders").fetchone()[0]:
        shop.executemany("INSERT INTO customers VALUES (?)", [("Ada",), ("Lin",)])
        shop.executemany("INSERT INTO orders VALUES (?, ?)", ORDERS)
Path("www").mkdir(exist_ok=True)
Path("www", "prices.json").write_text(json.dumps([{"item": "tea", "cents": 300}, {"item": "pot", "cents": 8900}]))
print("made shop.db and www/prices.json")
