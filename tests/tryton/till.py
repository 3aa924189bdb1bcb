"""Work at one of several sites, through the application's own API.

usage: till.py FOLDER SITE     reads names of shifts, the functions listed at the end, and says when each is done

The application stays open between shifts, while flows are applied to its database. What its API shows before a shift
and after it goes to the file FOLDER/SHIFT.json. Everything in it is called by names that are the same at all sites:
parties by their code, sales by their reference, articles by their name; keys are each site's own.
"""

import application  # first: it wraps sqlite3.connect

import datetime
import json
import os
import sys
from decimal import Decimal

from application import add_text, refusal
from proteus import Model

DAY = datetime.date(2026, 3, 2)

# What a user was told instead of having the work done.
refusals = []


def one(model, **values):
    found, = Model.get(model).find([(name, "=", value) for name, value in values.items()])
    return found


def article(name):
    return one("product.product", name=name)


def sale(reference):
    return one("sale.sale", reference=reference)


def sell(reference, party, *lines):
    """A new sale; a line is what is sold and how much, at the price that the application proposes."""
    new = Model.get("sale.sale")(reference=reference)
    new.party = party
    new.sale_date = new.quotation_date = DAY
    new.invoice_method = new.shipment_method = "manual"
    for name, quantity in lines:
        line = new.lines.new()
        line.product = article(name)
        line.quantity = quantity
    new.save()
    return new


def customer(name, street, phone):
    new = Model.get("party.party")(name=name)
    address, = new.addresses
    address.street_unstructured = street
    contact = new.contact_mechanisms.new()
    contact.type, contact.value = "phone", phone
    new.save()
    return new


def refused(what, attempt):
    """Work that must not be done here, whatever the application makes of the database's error."""
    refusals.append([what, refusal(what, attempt)])


# ── The shifts ──────────────────────────────────────────────────────────────────────────────────────────────

def number(site):
    """Numbers that are printed begin with the site's letter: the application counts from 1 at each."""
    for name in ("Party", "Sale", "Customer Shipment"):
        sequence = one("ir.sequence", name=name)
        sequence.prefix = f"{site[0]}-"
        sequence.save()


def first_day(site):
    """At a till: new customers, sales to them and to those that all sites know."""
    number(site)
    letter = site[0]
    ada = customer(f"Ada of {letter}", f"{letter} Street 1", f"+{letter}-11")
    bob = customer(f"Böb \"{letter}\"", f"{letter} Street 2\nback door", f"+{letter}-12")
    zoe = one("party.party", code="2")

    changed = sell(f"{letter}1", ada, ("Coffee beans", 2.37), ("Cup", 3), ("Filter", 1000))
    changed.comment = "Ação — «spécial»"
    changed.lines[1].quantity = 5
    changed.lines.remove(changed.lines[0])
    changed.save()
    quoted = sell(f"{letter}2", zoe, ("Olive oil", 1.5))
    add_text(quoted, "title", "first line\nsecond \"line\", it's\ttabbed")
    by_hand = quoted.lines.new()
    by_hand.quantity, by_hand.unit_price, by_hand.description = 3.125, Decimal("0.3333"), "by hand"
    add_text(quoted, "subtotal", "Subtotal")
    quoted.save()
    quoted.click("quote")
    confirmed = sell(f"{letter}3", bob, ("Machine", 1), ("Cup", 12))
    # From now on the application makes its invoice, its shipment and the moves of that.
    confirmed.invoice_method = confirmed.shipment_method = "order"
    confirmed.click("quote")
    confirmed.click("confirm")
    sell(f"{letter}4", ada, ("Filter", 7))
    never_sent = sell(f"{letter}5", bob, ("Filter", 8))
    assert [ada.id, never_sent.id] == [7, 5], "each till numbers on from the template: both use the same numbers"
    never_sent.delete()


def central_day(site):
    """At central: what the tills sent is carried on, and what only central may change is changed."""
    number(site)
    cup = article("Cup").template
    cup.list_price = Decimal("4.2500")
    cup.save()
    new = Model.get("product.template")(name="Grinder")
    new.default_uom, new.type, new.salable = one("product.uom", name="Unit"), "goods", True
    new.list_price, new.account_category = Decimal("79.9000"), cup.account_category
    new.save()
    Model.get("res.user")(name="Anna", login="anna").save()

    sale("B1").click("quote")
    longer = sale("C1")
    line = longer.lines.new()
    line.product, line.quantity = article("Olive oil"), 0.75
    longer.save()
    sale("B4").delete()
    sale("C4").delete()
    sell("A1", one("party.party", name="Ada of C"), ("Grinder", 2))


def second_day(site):
    """At a till: what central has taken is not the till's any more; a customer is changed in two places at once."""
    letter = site[0]
    other = "C" if letter == "B" else "B"
    frozen = sale(f"{letter}1")

    def change_line():
        frozen.lines[0].quantity += 1
        frozen.save()
    refused("a line of a sale that was sent", change_line)
    # Here the application asks what else may be wrong and says that instead: its user does not read Talon's text.
    refused("deleting a sale that was sent", sale(f"{letter}1").delete)
    refused("a sale of the other till", lambda: sale(f"{other}2").click("draft"))
    cup = article("Cup").template
    cup.list_price = Decimal("1")
    refused("a price", cup.save)

    plain = one("party.party", code="6")
    address, = plain.addresses
    if letter == "B":
        address.street_unstructured = "Mill Lane 2"
        contact = plain.contact_mechanisms.new()
        contact.type, contact.value = "phone", "+B-66"
        zoe = one("party.party", code="2")
        zoe.name = "Zoë & Töchter"
        zoe.save()
    else:
        address.city = "Cambridge"
        zoe = one("party.party", code="2")
        zoe.addresses[0].street_unstructured = "Hauptstraße 1"
        zoe.save()
    address.save()
    plain.save()
    # Sold to the other till's customer, at the old price: the new one has not come yet.
    sell(f"{letter}6", one("party.party", name=f"Ada of {other}"), ("Cup", 2), ("Machine", 1))


def third_day(site):
    """At a till: central's prices and articles are sold."""
    letter = site[0]
    sell(f"{letter}7", one("party.party", code="6"), ("Cup", 1), ("Grinder", 1)).click("quote")


def look(site):
    """Only the reading."""


# ── What the API shows ──────────────────────────────────────────────────────────────────────────────────────

SALE = """number reference state comment description sale_date quotation_date create_date create_uid.login
    invoice_method shipment_method invoice_state shipment_state untaxed_amount tax_amount total_amount
    party.code invoice_party.code shipment_party.code
    invoice_address.full_address invoice_address.party.code shipment_address.full_address shipment_address.party.code
    lines.sequence lines.type lines.description lines.note lines.quantity lines.unit.name lines.unit_price lines.amount
    lines.product.name lines.taxes.name lines.moves.state lines.moves.quantity lines.moves.product.name
    lines.moves.from_location.name lines.moves.shipment.rec_name
    shipments.number shipments.state shipments.customer.code shipments.delivery_address.full_address
    invoices.state invoices.party.code invoices.total_amount invoices.lines.product.name invoices.lines.quantity
    invoices.lines.amount invoices.lines.taxes.name invoices.taxes.amount"""
PARTY = """code name active lang.code account_receivable.name
    addresses.full_address addresses.city contact_mechanisms.type contact_mechanisms.value"""
ARTICLE = "name list_price salable default_uom.name account_category.name products.rec_name products.list_price_used"


def reading():
    return {
        "sales": read("sale.sale", "reference", SALE),
        "parties": read("party.party", "code", PARTY),
        "articles": read("product.template", "name", ARTICLE),
        "users": read("res.user", "login", "login name"),
        "lines": len(Model.get("sale.line").find([])),
    }


def read(model, name, fields):
    client = Model.get(model)._config
    proxy = client.get_proxy(model)
    ids = proxy.search([], 0, None, [("id", "ASC")], client.context)
    return {record[name]: without_keys(record) for record in proxy.read(ids, fields.split(), client.context)}


def without_keys(record):
    """What was asked of a record: `party.` is what was asked of its party, `party` and `id` are this site's keys."""
    if isinstance(record, (list, tuple)):
        return [without_keys(item) for item in record]
    if isinstance(record, dict):
        return {name: without_keys(value) for name, value in record.items()
                if name != "id" and name + "." not in record}
    return record


SHIFTS = {function.__name__: function for function in (first_day, central_day, second_day, third_day, look)}


def main(folder, site):
    application.start(folder)
    for shift in map(str.strip, sys.stdin):
        refusals.clear()
        before = reading()
        SHIFTS[shift](site)
        result = {"before": before, "after": reading(), "refusals": refusals}
        with open(os.path.join(folder, shift + ".json"), "w") as file:
            json.dump(result, file, default=application.plain)
        print(f"{shift} is done", flush=True)


main(*sys.argv[1:])
