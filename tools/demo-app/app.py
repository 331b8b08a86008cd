"""A web application with a very common shape: much is built and dropped for a request, a little is kept."""
import os

from flask import Flask

app = Flask(__name__)
sessions = []


class Session:
    __slots__ = ("number",)

    def __init__(self, number):
        self.number = number


class Row:
    __slots__ = ("number",)

    def __init__(self, number):
        self.number = number


def build_page(number):
    rows = []
    for i in range(400000):
        rows.append(Row(i))
        if i % 20000 == 0:
            sessions.append(Session(number))  # the few that are kept
    return len(rows)


@app.route("/page/<int:number>")
def page(number):
    return f"{build_page(number)} rows by process {os.getpid()}\n"


@app.route("/health")
def health():
    return "ok\n"
