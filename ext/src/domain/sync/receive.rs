//! Takes the chunks of a flow in, in whatever order they come, and says when all of it is here. What is no sound flow for this
//! site, or does not follow what came before, changes nothing.

use super::emit::{Answer, Mode, own_site};
use super::sequence::{Known, Receiver, Sender, Verdict, clock_off_ms, clock_warning, judge};
use crate::domain::talon::Talon;
use crate::error::{Error, Result};
use crate::sqlite::{Room, ValueRef};
use crate::storage::document::{End, Head, Line, Load};
use crate::storage::document_reader;
use crate::storage::flow_store::{Flow, FlowStore, NewFlow};
use crate::storage::frame::{Chunk, FlowName, MOST_UNPACKED, Unpacker, read_chunk};
use crate::storage::load_store::LoadStore;
use crate::storage::site_store::{OwnSite, Role, Site, SiteStore};
use crate::storage::store::Hash;

/// Bytes of a flow's first line at most: it is held in memory and kept.
const MOST_HEAD: usize = 16 << 20;

/// Where a flow goes in.
struct Incoming<'a> {
    flows: FlowStore<'a>,
    loads: LoadStore<'a>,
    own: OwnSite,
    sender: Site,
    now_ms: i64,
}

impl Talon {
    /// Takes one or more chunks of a flow in; gives the flow's row here.
    ///
    /// # Errors
    /// [`Error::Flow`] with what is wrong with it, [`Error::NewerFlow`], [`Error::UnknownSite`].
    pub fn receive(&self, schema: &str, bytes: &[u8]) -> Result<i64> {
        let chunks = chunks_of(bytes)?;
        let place = self.database_to_write(schema)?;
        self.atomically(schema, || {
            let schema = self.databases()?[place].schema.clone();
            let sites = SiteStore::new(self.connection, &schema);
            let own = own_site(&sites)?;
            let name = &chunks.first().ok_or_else(|| bad("there are no bytes"))?.flow;
            let sender = sender(&sites, &own, name)?;
            let flows = FlowStore::new(self.connection, &schema);
            let loads = LoadStore::new(self.connection, &schema);
            let now_ms = self.clock.now_ms();
            Incoming { flows, loads, own, sender, now_ms }.take(&chunks)
        })
    }

    /// Sets a flow aside that has come in and is not applied yet.
    ///
    /// # Errors
    /// [`Error::Argument`] where there is no such flow, or nothing is to be refused of it.
    pub fn refuse_flow(&self, schema: &str, id: i64, why: &str) -> Result<()> {
        let place = self.database_to_write(schema)?;
        self.atomically(schema, || {
            let schema = self.databases()?[place].schema.clone();
            let own = own_site(&SiteStore::new(self.connection, &schema))?;
            let flows = FlowStore::new(self.connection, &schema);
            let refused = |problem: &str| Err(Error::Argument(format!("flow {id} {problem}")));
            match flows.by_id(id)? {
                None => refused("is not here"),
                Some(flow) if flow.sender == own.id => {
                    refused("was written here: the site that it is for may refuse it")
                }
                Some(flow) if flow.is_ended => refused("was applied already"),
                Some(flow) if flow.is_refused => refused("was refused already"),
                Some(flow) if flow.is_superseded => {
                    refused("was superseded by a later one already")
                }
                Some(_) => {
                    flows.refuse(id, self.clock.now_ms(), why)?;
                    LoadStore::new(self.connection, &schema).drop_listed(id)
                }
            }
        })
    }
}

fn bad(problem: &str) -> Error {
    Error::Flow { problem: problem.to_owned() }
}

fn unrelated(number: i64, flow: &FlowName) -> Error {
    bad(&format!(
        "chunk {number} of {flow} does not follow the one before it: they are of two flows of one number"
    ))
}

/// What a chunk says of its place in its flow.
struct Link {
    after: Option<Hash>,
    hash: Hash,
    last: bool,
}

/// The chunks that bytes are made of, all of one flow.
fn chunks_of(mut bytes: &[u8]) -> Result<Vec<Chunk<'_>>> {
    if bytes.is_empty() {
        return Err(bad("there are no bytes"));
    }
    let mut chunks: Vec<Chunk<'_>> = Vec::new();
    while !bytes.is_empty() {
        let (chunk, rest) = read_chunk(bytes)?;
        if let Some(first) = chunks.first()
            && first.flow != chunk.flow
        {
            let problem =
                format!("{} and {} are in one: receive each by itself", first.flow, chunk.flow);
            return Err(bad(&problem));
        }
        chunks.try_push(chunk)?;
        bytes = rest;
    }
    Ok(chunks)
}

/// The site that a flow comes from, where it is for this one.
fn sender(sites: &SiteStore<'_>, own: &OwnSite, flow: &FlowName) -> Result<Site> {
    if flow.from.eq_ignore_ascii_case(&own.code) {
        return Err(bad(&format!("{flow} was written by {} itself", own.code)));
    }
    if !flow.to.eq_ignore_ascii_case(&own.code) {
        return Err(bad(&format!("this database is {}, and {flow} is not for it", own.code)));
    }
    let sender = match sites.by_code(&flow.from)? {
        Some(sender) => sender,
        None => return Err(super::sites::unknown_site(sites, &flow.from)?),
    };
    if own.role == Role::Remote && sender.role == Role::Remote {
        return Err(bad(&format!(
            "{flow} comes from a remote site: {} takes those of central",
            own.code
        )));
    }
    Ok(sender)
}

impl Incoming<'_> {
    fn take(&self, chunks: &[Chunk<'_>]) -> Result<i64> {
        let (mut unpacker, mut lines) = (Unpacker::new()?, Vec::new());
        let mut found = None;
        for chunk in chunks {
            unpacker.unpack(chunk, MOST_UNPACKED, &mut lines)?;
            if chunk.last {
                end(chunk, &lines)?;
            }
            let flow = self.note(chunk, &lines)?;
            if !flow.is_over() && !flow.is_ready {
                self.keep(&flow, chunk)?;
            }
            found = Some(flow);
        }
        let flow = found.ok_or_else(|| bad("there are no bytes"))?;
        if !flow.is_over() && !flow.is_ready && self.has_all(&flow, chunks)? {
            self.complete(&flow, &mut unpacker, &mut lines)?;
        }
        Ok(flow.id)
    }

    fn known(&self, name: &FlowName) -> Result<Option<Flow>> {
        self.flows.by_number(self.sender.id, self.own.id, name.incarnation, name.number)
    }

    /// The flow that a chunk belongs to, noted where it is not yet; with the first chunk it is seen whether it is to be taken.
    fn note(&self, chunk: &Chunk<'_>, lines: &[u8]) -> Result<Flow> {
        let name = &chunk.flow;
        let known = self.known(name)?;
        if chunk.number > 0 {
            if let Some(known) = known {
                return Ok(known);
            }
            let nothing_said = self.new_flow(name, None, "");
            self.flows.insert(&nothing_said)?;
        } else {
            let (head, text) = head(chunk, lines)?;
            let is_central = self.sender.role == Role::Central;
            // What a full load does not name goes: it must be one.
            if is_central && head.load == Some(Load::Full) && head.mode != Mode::Full.text() {
                return Err(bad(&format!("{name} is a full load, and has not all in it")));
            }
            match self.judge(known.as_ref(), &head, text)? {
                Verdict::Duplicate => {}
                Verdict::Refused(refusal) => {
                    return Err(bad(&refusal.text(&head, is_central, &self.own.code)));
                }
                Verdict::Late => {
                    let id = self.put(known.as_ref(), &head, text)?;
                    self.flows.note_late(id, self.now_ms)?;
                }
                verdict @ (Verdict::Next | Verdict::Anew) => {
                    if verdict == Verdict::Anew || self.sender.incarnation.is_none() {
                        self.flows.begin_site(self.sender.id, name.incarnation)?;
                        if is_central {
                            self.loads.forget()?;
                        }
                    }
                    self.put(known.as_ref(), &head, text)?;
                    if is_central {
                        self.loads.heard(&head.tables)?;
                    }
                }
            }
        }
        self.known(name)?.ok_or_else(|| {
            Error::Argument("a trigger on talon_flow keeps rows out of it".to_owned())
        })
    }

    fn judge(&self, known: Option<&Flow>, head: &Head, text: &str) -> Result<Verdict> {
        let known = match known {
            None => Known::No,
            Some(flow) if flow.head.is_empty() => Known::No,
            Some(flow) if flow.head == text => Known::Same,
            Some(_) => Known::Other,
        };
        let Site { incarnation, number_in, stamp_in, applied, .. } = self.sender;
        let other = self.other_before(head)?;
        let was_former = match incarnation {
            Some(now) if now != head.flow.incarnation => {
                self.flows.was_former(self.sender.id, head.flow.incarnation, now, head.stamp)?
            }
            _ => false,
        };
        let sender =
            Sender { incarnation, number: number_in, stamp: stamp_in, applied, other, was_former };
        let stamp = match head.acknowledges {
            Some(said) => self
                .flows
                .by_number(self.own.id, self.sender.id, said.incarnation, said.number)?
                .map(|flow| flow.stamp),
            None => None,
        };
        let receiver = Receiver {
            incarnation: self.own.incarnation,
            number: self.sender.number_out,
            newest: self.flows.newest_change()?,
            stamp,
        };
        Ok(judge(sender, receiver, known, head))
    }

    /// A flow that this one follows, where another one of that number is here.
    fn other_before(&self, head: &Head) -> Result<Option<i64>> {
        for said in &head.after {
            let name = FlowName { number: said.number, ..head.flow.clone() };
            let known = self.known(&name)?;
            if known.is_some_and(|known| !known.head.is_empty() && known.stamp != said.stamp) {
                return Ok(Some(said.number));
            }
        }
        Ok(None)
    }

    fn put(&self, known: Option<&Flow>, head: &Head, text: &str) -> Result<i64> {
        let new = self.new_flow(&head.flow, Some(head), text);
        match known {
            Some(known) => self.flows.fill_in(&new).map(|()| known.id),
            None => self.flows.insert(&new),
        }
    }

    fn new_flow<'f>(&self, name: &FlowName, head: Option<&'f Head>, text: &'f str) -> NewFlow<'f> {
        NewFlow {
            sender: self.sender.id,
            receiver: self.own.id,
            incarnation: name.incarnation,
            number: name.number,
            link: None,
            mode: head.map_or("", |head| &head.mode),
            answer: head.map_or("", |head| &head.answer),
            stamp: head.map_or(0, |head| head.stamp),
            since: head.map_or(0, |head| head.since),
            until: head.map_or(0, |head| head.until),
            head: text,
            load: head.and_then(|head| head.load).map(Load::text),
        }
    }

    fn keep(&self, flow: &Flow, chunk: &Chunk<'_>) -> Result<()> {
        match self.flows.has_chunk(flow.id, chunk.number, chunk.bytes)? {
            Some(true) => Ok(()),
            Some(false) => Err(bad(&format!(
                "chunk {} of {} is here already with other content: one of the two is of a copy of {}'s database",
                chunk.number, chunk.flow, chunk.flow.from
            ))),
            None => {
                self.fits(flow, chunk)?;
                let values = [
                    ValueRef::Integer(flow.id),
                    ValueRef::Integer(chunk.number),
                    ValueRef::Blob(chunk.bytes),
                ];
                Ok(self.flows.inserting_chunks()?.run(&values)?)
            }
        }
    }

    /// A chunk follows the one before it, and is followed by the one after it, where these are here.
    fn fits(&self, flow: &Flow, chunk: &Chunk<'_>) -> Result<()> {
        if let Some(before) = self.link(flow, chunk.number - 1)?
            && chunk.after != Some(before.hash)
        {
            return Err(unrelated(chunk.number, &chunk.flow));
        }
        let next = chunk.number.saturating_add(1);
        match self.link(flow, next)? {
            Some(after) if after.after != Some(chunk.hash) => Err(unrelated(next, &chunk.flow)),
            _ => Ok(()),
        }
    }

    /// What a chunk that is here says of its place; None where it is not here.
    fn link(&self, flow: &Flow, number: i64) -> Result<Option<Link>> {
        let mut reading = self.flows.reading_chunk()?;
        let values = [flow.id, number].map(ValueRef::Integer);
        let mut stored = reading.query(&values)?;
        if !stored.next()? {
            return Ok(None);
        }
        let ValueRef::Blob(bytes) = stored.column(0) else { return Ok(None) };
        let (Chunk { after, hash, last, .. }, _) = read_chunk(bytes)?;
        Ok(Some(Link { after, hash, last }))
    }

    /// Whether all chunks up to the last one are here, of which these have just come.
    fn has_all(&self, flow: &Flow, chunks: &[Chunk<'_>]) -> Result<bool> {
        let Some(highest) = self.flows.highest_chunk(flow.id)? else { return Ok(false) };
        Ok(match chunks.iter().find(|chunk| chunk.number == highest) {
            Some(chunk) => chunk.last,
            None => self.link(flow, highest)?.is_some_and(|link| link.last),
        })
    }

    /// Sees that all chunks are here, each after the one that it names, and notes it.
    fn complete(&self, flow: &Flow, unpacker: &mut Unpacker, lines: &mut Vec<u8>) -> Result<()> {
        let mut reading = self.flows.reading_chunks()?;
        let mut stored = reading.query(&[ValueRef::Integer(flow.id)])?;
        let (mut expected, mut before, mut said) = (0, None, None);
        while stored.next()? {
            let ValueRef::Blob(bytes) = stored.column(1) else { break };
            let (chunk, _) = read_chunk(bytes)?;
            if chunk.number != expected {
                return Ok(());
            }
            if chunk.after != before {
                return Err(unrelated(chunk.number, &chunk.flow));
            }
            if chunk.last {
                unpacker.unpack(&chunk, MOST_UNPACKED, lines)?;
                said = Some(end(&chunk, lines)?);
            }
            (expected, before) = (expected + 1, Some(chunk.hash));
        }
        drop(stored);
        match said {
            Some(said) => self.is_ready(flow, said),
            None => Ok(()),
        }
    }

    fn is_ready(&self, flow: &Flow, said: End) -> Result<()> {
        let Some(flow) = self.flows.by_id(flow.id)? else { return Ok(()) };
        let Line::Head(head) = document_reader::read(flow.head.as_bytes())? else { return Ok(()) };
        let off_ms = clock_off_ms(&head, self.now_ms);
        let warning = clock_warning(&self.sender.code, off_ms);
        self.flows.complete(flow.id, self.now_ms, said.rows, warning.as_deref())?;
        let FlowName { incarnation, number, .. } = head.flow;
        self.flows.heard_of(self.sender.id, incarnation, number, flow.stamp, off_ms)?;
        self.flows.supersede(self.sender.id, self.own.id, flow.id, self.now_ms, true)?;
        if let Some(number) = head.answers {
            let answered =
                self.flows.by_number(self.own.id, self.sender.id, self.own.incarnation, number)?;
            if let Some(answered) = answered {
                self.flows.link(answered.id, flow.id)?;
            }
        }
        Ok(())
    }
}

/// The first line of a flow, read and as it stands.
fn head<'l>(chunk: &Chunk<'_>, lines: &'l [u8]) -> Result<(Head, &'l str)> {
    let line = lines.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.len() > MOST_HEAD {
        return Err(bad(&format!("the first line of {} is too long", chunk.flow)));
    }
    match document_reader::read(line)? {
        Line::Head(head) if head.flow == chunk.flow => {
            Mode::from_text(&head.mode)?;
            Answer::from_text(&head.answer)?;
            let text = std::str::from_utf8(line).map_err(|_| bad("its first line is no UTF-8"))?;
            Ok((*head, text))
        }
        _ => Err(bad(&format!("{} does not begin with its own head", chunk.flow))),
    }
}

/// The last line of a flow.
fn end(chunk: &Chunk<'_>, lines: &[u8]) -> Result<End> {
    let whole = lines.strip_suffix(b"\n").unwrap_or(lines);
    let line = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    match document_reader::read(line)? {
        Line::End(end) => Ok(end),
        _ => Err(bad(&format!("{} ends without its last line", chunk.flow))),
    }
}
