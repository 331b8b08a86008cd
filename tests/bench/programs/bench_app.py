"""A small Flask application: an order with its lines, priced and rendered as JSON."""
from flask import Flask, jsonify

app = Flask(__name__)


@app.route("/orders/<int:number>")
def order(number):
    lines = [{"sku": f"sku-{number}-{n}", "quantity": n % 7 + 1, "price": n * 1.1} for n in range(60)]
    total = sum(line["quantity"] * line["price"] for line in lines)
    return jsonify(number=number, lines=lines, total=round(total, 2), tags=[str(n) for n in range(30)])
