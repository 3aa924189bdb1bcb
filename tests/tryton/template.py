"""Sets up the shop that every run starts from: company, accounts, taxes, parties, products.

usage: template.py FOLDER     FOLDER/tryton.sqlite has been initialised by trytond-admin
"""

import sys
from decimal import Decimal

import application
from proteus import Model
from trytond.modules.account.tests.tools import (
    create_chart, create_tax, get_accounts)
from trytond.modules.company.tests.tools import create_company, get_company
from trytond.modules.currency.tests.tools import get_currency

# Names that need quoting in SQL, in JSON, and outside of ASCII.
PARTIES = ["Zoë & Söhne", "L'Épicerie \"du coin\"", "Armazém São João", "株式会社テスト", "Plain Ltd"]

# Name, unit, list price. Kilograms have decimals, units have none; prices use all four decimals.
PRODUCTS = [
    ("Coffee beans", "Kilogram", "18.4567"),
    ("Olive oil", "Liter", "9.9900"),
    ("Cup", "Unit", "3.5"),
    ("Machine", "Unit", "1249"),
    ("Filter", "Unit", "0.0125"),
]


def set_up():
    create_company(currency=get_currency("EUR"))
    company = get_company()
    application.set_company(company)
    create_chart()
    accounts = get_accounts()

    tax = create_tax(Decimal("0.21"))
    tax.save()
    category = Model.get("product.category")(name="Goods", accounting=True)
    category.account_expense = accounts["expense"]
    category.account_revenue = accounts["revenue"]
    category.customer_taxes.append(tax)
    category.save()

    for name in PARTIES:
        Model.get("party.party")(name=name).save()
    for name, unit, price in PRODUCTS:
        template = Model.get("product.template")(name=name)
        template.default_uom, = Model.get("product.uom").find([("name", "=", unit)])
        template.type = "goods"
        template.salable = True
        template.list_price = Decimal(price)
        template.account_category = category
        template.save()


application.start(sys.argv[1])
set_up()
