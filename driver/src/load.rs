//! `talon load`: has the extension ask central for a load and carries that, or takes the answer that lies there. What a load is,
//! and for which till, the extension knows.

use crate::arguments::{Load, Mode};
use crate::database::Database;
use crate::error::Result;
use crate::mailbox::Mailbox;
use crate::report::Report;
use crate::sync::Exchange;
use crate::taking::{self, Findings};

/// Runs it.
///
/// # Errors
/// What kept it from its end; what was carried before stays carried.
pub fn run(options: &Load, report: &mut dyn Report) -> Result<Findings> {
    let (database, _lock) = Database::open_to_load(&options.place)?;
    let mailbox = Mailbox::open(&options.mailbox)?;
    let exchange = Exchange { database, mailbox, wait: options.place.wait() };
    let mut findings = Findings::default();
    let mode = options.mode();
    let asked = {
        let _lock = exchange.mailbox.lock(exchange.wait)?;
        if has_come(&exchange, mode, report, &mut findings)? {
            None
        } else {
            Some(ask(&exchange, options, report)?)
        }
    };
    match asked {
        Some(flow) if options.patience > 0 => {
            exchange.await_answers(&[flow], options.patience, report, &mut findings)?;
            say_done(mode, report);
        }
        Some(_) => report.say(
            "the load comes when talon sync has run at central: then talon load takes it, as talon sync does",
        ),
        None => say_done(mode, report),
    }
    taking::count_quarantine(&exchange.database, report, &mut findings)?;
    Ok(findings)
}

/// Takes what lies there; true where the load was in it.
fn has_come(
    exchange: &Exchange,
    mode: Mode,
    report: &mut dyn Report,
    findings: &mut Findings,
) -> Result<bool> {
    if !exchange.database.is_site()? {
        return Ok(false);
    }
    let before = exchange.database.newest_load(mode)?;
    exchange.receive(report, findings)?;
    taking::process(&exchange.database, report, findings)?;
    Ok(exchange.database.newest_load(mode)? > before)
}

/// Has the load asked for; gives the flow that does.
fn ask(exchange: &Exchange, options: &Load, report: &mut dyn Report) -> Result<i64> {
    let flow = exchange.database.load(options.user.as_deref(), options.mode())?;
    let this = exchange.database.this()?;
    report.say(&format!("{} asks for a load: {}", this.code, options.mode().text()));
    for flow in exchange.database.to_send(&this)? {
        exchange.send_flow(&flow, report)?;
    }
    Ok(flow)
}

fn say_done(mode: Mode, report: &mut dyn Report) {
    report.say(&format!(
        "loaded ({}); talon sync tells central, and sends what was made here",
        mode.text()
    ));
}
