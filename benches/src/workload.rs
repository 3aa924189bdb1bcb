//! What a till does all day: create a piece, edit a line, rewrite all lines.

use std::fmt::Write;

use rusqlite::{Connection, Statement, params};

/// Lines of the pieces that are there before a measurement starts, and of those edited and rewritten.
pub const LINES: u32 = 20;

const INSERT_HEADER: &str = "INSERT INTO sale_piece
     (number, date, customer_id, seller_id, type, total, validated, payment, note)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const INSERT_LINE: &str = "INSERT INTO sale_line
     (sale_id, position, article_id, label, quantity, unit_price, discount, tax_rate, total)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
const UPDATE_LINE: &str = "UPDATE sale_line SET quantity = ?1, total = ?2 WHERE id = ?3";
const DELETE_LINES: &str = "DELETE FROM sale_line WHERE sale_id = ?1";

const LABELS: [&str; 8] = [
    "Café moulu équitable 250 g",
    "Vis à bois tête fraisée 4x40, boîte de 200",
    "Stylo bille bleu",
    "Huile d'olive vierge extra 75 cl",
    "Ramette papier A4 80 g",
    "Ampoule LED E27 9 W blanc chaud",
    "Chemise coton homme, taille 41",
    "Câble réseau cat. 6, 5 m",
];

/// One kind of transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Create(u32),
    EditLine,
    Rewrite,
}

impl Work {
    /// The columns of the table.
    pub const ALL: [Self; 5] =
        [Self::Create(5), Self::Create(20), Self::Create(200), Self::EditLine, Self::Rewrite];

    pub fn title(self) -> String {
        match self {
            Self::Create(lines) => format!("create {lines}"),
            Self::EditLine => "edit one line".into(),
            Self::Rewrite => format!("rewrite {LINES} lines"),
        }
    }

    /// Transactions of one variant before the next has its turn: some milliseconds of work.
    pub fn batch(self) -> u32 {
        match self {
            Self::Create(200) => 5,
            Self::Create(5) | Self::EditLine => 30,
            Self::Create(_) | Self::Rewrite => 20,
        }
    }
}

/// SplitMix64: a few instructions, and the same sequence for every variant.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let high = (mixed ^ (mixed >> 31)) >> 32;
        u32::try_from((high * u64::from(bound)) >> 32).unwrap_or(0)
    }
}

/// The application and the number of its last piece.
pub struct Host<'c> {
    connection: &'c Connection,
    /// None where it prepares every statement anew.
    kept: Option<Kept<'c>>,
    number: String,
    serial: u32,
}

/// Statements prepared once.
struct Kept<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    insert_header: Statement<'c>,
    insert_line: Statement<'c>,
    update_line: Statement<'c>,
    delete_lines: Statement<'c>,
}

impl<'c> Kept<'c> {
    fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            begin: connection.prepare("BEGIN")?,
            commit: connection.prepare("COMMIT")?,
            insert_header: connection.prepare(INSERT_HEADER)?,
            insert_line: connection.prepare(INSERT_LINE)?,
            update_line: connection.prepare(UPDATE_LINE)?,
            delete_lines: connection.prepare(DELETE_LINES)?,
        })
    }
}

/// A field of its own, so that a host's number can be bound at the same time.
fn kept<'k, 'c>(kept: &'k mut Option<Kept<'c>>) -> rusqlite::Result<&'k mut Kept<'c>> {
    kept.as_mut().ok_or(rusqlite::Error::InvalidQuery)
}

impl<'c> Host<'c> {
    pub fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self { kept: Some(Kept::prepare(connection)?), ..Self::keeping_nothing(connection) })
    }

    /// A host that only knows [`Host::create_anew`].
    pub fn keeping_nothing(connection: &'c Connection) -> Self {
        Self { connection, kept: None, number: String::new(), serial: 0 }
    }

    pub fn begin(&mut self) -> rusqlite::Result<()> {
        kept(&mut self.kept)?.begin.raw_execute().map(|_| ())
    }

    pub fn commit(&mut self) -> rusqlite::Result<()> {
        kept(&mut self.kept)?.commit.raw_execute().map(|_| ())
    }

    /// Inserts a header and its lines; returns the new key.
    pub fn create(&mut self, lines: u32, random: &mut Random) -> rusqlite::Result<i64> {
        self.next_number();
        let customer = random.below(5_000);
        kept(&mut self.kept)?.insert_header.execute(params![
            self.number,
            "2026-11-21",
            customer,
            customer % 7,
            "F",
            f64::from(lines) * 37.25,
            0,
            "card",
            "Retrait en magasin"
        ])?;
        let piece = self.connection.last_insert_rowid();
        self.insert_lines(piece, lines, random)?;
        Ok(piece)
    }

    /// Changes quantity and total of one line of a piece that was there from the start.
    pub fn edit_line(&mut self, pieces: u32, random: &mut Random) -> rusqlite::Result<i64> {
        self.serial += 1;
        let piece = random.below(pieces);
        let line = piece * LINES + random.below(LINES) + 1;
        // From the serial, so that two edits of a line never write the same value.
        let quantity = f64::from(self.serial) * 0.25;
        kept(&mut self.kept)?.update_line.execute(params![quantity, quantity * 12.5, line])?;
        Ok(i64::from(piece) + 1)
    }

    /// Changes quantity and total of one line of a piece, counted from 0, of a shop whose pieces have so many lines.
    pub fn edit_line_of(
        &mut self,
        piece: u32,
        lines: u32,
        random: &mut Random,
    ) -> rusqlite::Result<()> {
        self.serial += 1;
        let line = piece * lines + random.below(lines) + 1;
        let quantity = f64::from(self.serial) * 0.25;
        kept(&mut self.kept)?.update_line.execute(params![quantity, quantity * 12.5, line])?;
        Ok(())
    }

    /// Deletes all lines of a piece that was there from the start and inserts as many new ones.
    pub fn rewrite(&mut self, pieces: u32, random: &mut Random) -> rusqlite::Result<i64> {
        let piece = i64::from(random.below(pieces)) + 1;
        kept(&mut self.kept)?.delete_lines.execute([piece])?;
        self.insert_lines(piece, LINES, random)?;
        Ok(piece)
    }

    /// As `create` with BEGIN and COMMIT, by a host that keeps no statement.
    pub fn create_anew(&mut self, lines: u32, random: &mut Random) -> rusqlite::Result<i64> {
        let connection = self.connection;
        connection.execute("BEGIN", [])?;
        self.next_number();
        let customer = random.below(5_000);
        connection.execute(
            INSERT_HEADER,
            params![
                self.number,
                "2026-11-21",
                customer,
                customer % 7,
                "F",
                f64::from(lines) * 37.25,
                0,
                "card",
                "Retrait en magasin"
            ],
        )?;
        let piece = connection.last_insert_rowid();
        for position in 1..=lines {
            let line = Line::draw(random);
            connection.execute(INSERT_LINE, line.parameters(&piece, &position))?;
        }
        connection.execute("COMMIT", [])?;
        Ok(piece)
    }

    fn insert_lines(
        &mut self,
        piece: i64,
        lines: u32,
        random: &mut Random,
    ) -> rusqlite::Result<()> {
        for position in 1..=lines {
            let line = Line::draw(random);
            kept(&mut self.kept)?.insert_line.execute(line.parameters(&piece, &position))?;
        }
        Ok(())
    }

    fn next_number(&mut self) {
        self.serial += 1;
        self.number.clear();
        // Writing into a String cannot fail.
        let _ = write!(self.number, "F2026-{:07}", self.serial);
    }
}

/// The values of a line besides its piece and position.
struct Line {
    article: u32,
    label: &'static str,
    quantity: f64,
    price: f64,
    discount: f64,
    tax: f64,
    total: f64,
}

impl Line {
    fn draw(random: &mut Random) -> Self {
        let article = random.below(8_000);
        let (quantity, price_cents) = (1 + article % 9, 100 + article);
        Self {
            article,
            label: LABELS[article as usize % LABELS.len()],
            quantity: f64::from(quantity),
            price: f64::from(price_cents) / 100.0,
            discount: 0.0,
            tax: 20.0,
            // Rounded once, as a till does: otherwise totals carry seventeen digits.
            total: f64::from(quantity * price_cents) / 100.0,
        }
    }

    fn parameters<'a>(&'a self, piece: &'a i64, position: &'a u32) -> [&'a dyn rusqlite::ToSql; 9] {
        [
            piece,
            position,
            &self.article,
            &self.label,
            &self.quantity,
            &self.price,
            &self.discount,
            &self.tax,
            &self.total,
        ]
    }
}
