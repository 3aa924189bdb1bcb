"""Tryton in this process, on FOLDER/tryton.sqlite, driven by its own client library."""

import connections  # noqa: F401 (first: it wraps what opens connections)

import datetime
import os
from decimal import Decimal

from proteus import Model
from proteus import config as proteus_config

DATABASE = "tryton"


def start(folder):
    """Start the application on the database in this folder."""
    os.environ.pop("TRYTOND_DATABASE_URI", None)
    configuration = os.path.join(folder, "trytond.conf")
    proteus_config.set_trytond(DATABASE, config_file=configuration)
    companies = Model.get("company.company").find([])
    if companies:
        set_company(companies[0])


def set_company(company):
    """Work for this company, as a user who chose it in the client does."""
    proteus_config.get_config()._context["company"] = company.id


def read_all(*models):
    """Every record of these models with all fields, as the application's own API gives them."""
    client = proteus_config.get_config()
    answer = {}
    for model in models:
        proxy = client.get_proxy(model)
        names = sorted(Model.get(model)._fields)
        ids = proxy.search([], 0, None, [("id", "ASC")], client.context)
        answer[model] = proxy.read(ids, names, client.context)
    return answer


def add_text(sale, kind, text):
    """A line of a sale that carries no product: a title, a comment, a subtotal."""
    line = sale.lines.new()
    line.type = kind
    line.description = text


def refusal(what, attempt, kind=Exception):
    """What the application says instead of doing this; its transaction is rolled back."""
    try:
        attempt()
    except kind as error:
        return str(error)
    raise AssertionError(f"{what} was not refused")


def plain(value):
    """A value that JSON has no type for, with its type: the comparison is of both."""
    if isinstance(value, (Decimal, datetime.date, datetime.time, datetime.timedelta)):
        return {type(value).__name__: str(value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    raise TypeError(f"no plain form for {value!r}")
