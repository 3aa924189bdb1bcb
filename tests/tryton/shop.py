"""One shift at the shop, worked through the application's own API.

usage: shop.py FOLDER SHIFT ANSWERS     the shifts are the functions listed at the end

What the API answered goes to the file ANSWERS, as JSON: after each operation the sale as it then was,
at the end every sale, line, and what hangs on them. The same shift on the same database gives the same
answers, with Talon and without it, but for the timestamps.
"""

import application  # first: it wraps sqlite3.connect

import datetime
import json
import sys
from decimal import Decimal

import connections
from application import add_text, refusal
from proteus import Model
from trytond import backend
from trytond.exceptions import TrytonException
from trytond.pool import Pool
from trytond.transaction import Transaction

# The first of the dates that sales carry.
DAY = datetime.date(2026, 3, 2)

# What is read back: the sales and all that hangs on their lines.
MODELS = ["sale.sale", "sale.line", "stock.move", "account.invoice", "account.invoice.line"]

# Quantities of the first lines of a new sale; kilograms and liters have decimals.
QUANTITIES = {"Coffee beans": [0.25, 2.37, 12.1], "Olive oil": [1.5, 0.75]}

journal = []


def note(operation, sale, **more):
    """Write down what the API shows of this sale after an operation."""
    journal.append({
        "operation": operation,
        "sale": sale.id,
        "state": sale.state,
        "number": sale.number,
        "amounts": [sale.untaxed_amount, sale.tax_amount, sale.total_amount],
        "lines": [[line.id, line.sequence, line.type, line.quantity, line.unit_price, line.amount]
                  for line in sale.lines],
        **more})


def refused(operation, sale, attempt):
    """An operation that the application refuses."""
    text = refusal(f"{operation} of sale {sale.id}", attempt, TrytonException)
    journal.append({"operation": operation, "sale": sale.id, "refused": text})


def add_line(sale, product, quantity, price=None):
    line = sale.lines.new()
    line.product = product
    line.quantity = quantity
    if price is not None:
        line.unit_price = price
    return line


def create(index, products, parties):
    """A new sale: from one to three lines, every eighth with lines that carry no product."""
    sale = Model.get("sale.sale")()
    sale.party = parties[index % len(parties)]
    sale.sale_date = sale.quotation_date = DAY + datetime.timedelta(days=index)
    sale.invoice_method = "order" if index % 8 == 0 else "manual"
    sale.shipment_method = "order" if index % 2 == 0 else "manual"
    sale.reference = f"{index:04d}"  # text that looks like a number
    if index % 8 == 0:
        add_text(sale, "title", "Ação — «spécial»")
        add_text(sale, "comment", "first line\nsecond \"line\", it's\ttabbed")
    for position in range(1 + index % 3):
        product = products[(index + position) % len(products)]
        choice = QUANTITIES.get(product.name, [1, 3, 1000])
        add_line(sale, product, choice[position % len(choice)])
    if index % 8 == 0:
        service = sale.lines.new()  # sold by its description, at a price of more digits than the currency
        service.quantity = 3.125
        service.unit_price = Decimal("0.3333")
        service.description = "by hand"
        add_text(sale, "subtotal", "Subtotal")
    sale.save()
    note("create", sale)


def trade():
    """A day's work: sales are written, edited in every way the client offers, confirmed, cancelled, deleted."""
    Sale = Model.get("sale.sale")
    products = Model.get("product.product").find([], order=[("id", "ASC")])
    parties = Model.get("party.party").find([("id", ">", 1)], order=[("id", "ASC")])

    for index in range(13):
        create(index, products, parties)
    sales = Sale.find([], order=[("id", "ASC")])
    assert [sale.id for sale in sales] == list(range(1, 14))
    sale = dict(zip(range(1, 14), sales))

    for n in (1, 2):
        for line in sale[n].lines:
            if line.type == "line":
                line.quantity += 1
        sale[n].save()
        note("change quantities", sale[n])
    for n in (2, 3):
        add_line(sale[n], products[3], 2, Decimal("1199.9999"))
        sale[n].save()
        note("add a line", sale[n])
    for n in (2, 3):
        sale[n].lines.remove(sale[n].lines[0])
        sale[n].save()
        note("remove a line", sale[n])
    for n in (4, 6):
        while sale[n].lines:
            sale[n].lines.remove(sale[n].lines[0])
        add_line(sale[n], products[n % 5], 5, Decimal("3"))
        add_line(sale[n], products[0], 0.5)
        sale[n].save()
        note("replace all lines", sale[n])
    for sequence, line in enumerate(reversed(sale[5].lines), 1):
        line.sequence = sequence * 10
    sale[5].save()
    note("reorder the lines", sale[5])
    sale[7].comment = "header only\nno line changes"
    sale[7].party = parties[3]
    sale[7].save()
    note("change the header", sale[7])

    sale[2].lines[0].quantity = None
    refused("a line without quantity", sale[2], sale[2].save)
    sale[2].reload()

    for n in (8, 9, 10):
        sale[n].click("quote")
        note("quote", sale[n])
    for n in (9, 10):
        sale[n].click("confirm")
        note("confirm", sale[n])
    sale[8].click("draft")
    note("back to draft", sale[8])
    refused("delete of a confirmed sale", sale[9], sale[9].delete)

    for n in (11, 12):
        sale[n].click("cancel")
        note("cancel", sale[n])
    sale[11].delete()
    journal.append({"operation": "delete", "sale": 11})

    while sale[13].lines:
        sale[13].lines.remove(sale[13].lines[0])
    sale[13].save()
    note("remove every line", sale[13])

    copy, = sale[1].duplicate()
    note("duplicate", copy)
    bare = Sale(party=parties[0], reference="never had a line")
    bare.save()
    note("create without lines", bare)

    # Several sales in one transaction, as a list view saves them.
    client = Sale._config
    ids = [6, 7, 8]
    Sale._proxy.write(ids, {"description": "rewritten together"}, client.context)
    for n in ids:
        sale[n].reload()
        note("write together", sale[n])


def look():
    """Only the final reading."""


def carry_on():
    """The next day: work goes on with sales of which some had been lost and restored meanwhile."""
    Sale = Model.get("sale.sale")
    product = Model.get("product.product").find([("name", "=", "Cup")])[0]
    for n in (1, 7):
        sale = Sale(n)
        for line in sale.lines:
            if line.type == "line":
                line.quantity += 2
        add_line(sale, product, 4)
        sale.save()
        note("change and add", sale)
    sale = Sale(5)
    sale.lines.remove(sale.lines[0])
    sale.save()
    note("remove a line", sale)
    sale = Sale(8)
    sale.click("quote")
    note("quote", sale)
    sale = Sale(9)
    sale.click("process")
    note("process again", sale, unchanged=True)
    sale.comment = "remembers what it was"
    sale.save()
    note("change the header", sale)


def forgetful():
    """A few edits, meant for a process that was started without Talon."""
    for n in (2, 7, 12):
        sale = Model.get("sale.sale")(n)
        sale.comment = "edited by a process without Talon"
        for line in sale.lines:
            line.note = "seen"
        sale.save()
        note("edit without Talon", sale)


def rebuild():
    """A migration: the application's own code creates both tables anew, copies the rows, drops the old ones."""
    with Transaction().start(application.DATABASE, 0) as transaction:
        for model, column in (("sale.line", "note"), ("sale.sale", "comment")):
            table = backend.TableHandler(Pool().get(model))
            table.alter_type(column, "TEXT")
        transaction.commit()
    Pool(application.DATABASE).init(update=["sale"], indexes=True)  # as after an upgrade of the module


def after_rebuild():
    """Work after the migration."""
    for n in (4, 6):
        sale = Model.get("sale.sale")(n)
        for line in sale.lines:
            line.quantity += 1
        sale.save()
        note("change after the migration", sale)


def guard(definition):
    """Guard the sales, on one of the application's own connections, with the functions it registers there."""
    with Transaction().start(application.DATABASE, 0) as transaction:
        cursor = transaction.connection.cursor()
        cursor.execute("SELECT talon_guard('sale', ?)", (definition,))
        answer, = cursor.fetchone()
        transaction.commit()
    return answer


SHIFTS = {function.__name__: function
          for function in (trade, look, carry_on, forgetful, rebuild, after_rebuild)}


def main(folder, shift, answers, definition=None):
    application.start(folder)
    guarded = guard(definition) if definition else None
    SHIFTS[shift]()
    result = {
        "guarded": guarded,
        "connections": connections.opened,
        "journal": journal,
        "reading": application.read_all(*MODELS),
    }
    with open(answers, "w") as file:
        json.dump(result, file, default=application.plain)


main(*sys.argv[1:])
