//! What is made to fail, and when.

use std::fmt;

/// A call that SQLite makes to the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    /// Opening a file.
    Open,
    /// Reading from one.
    Read,
    /// Writing to one.
    Write,
    /// Asking for a file to be on the disk.
    Sync,
    /// Cutting a file short.
    Truncate,
    /// Deleting one.
    Delete,
    /// Asking how long it is.
    Size,
    /// Asking whether it is there.
    Access,
    /// Locking or unlocking it, or its write-ahead log's index.
    Lock,
    /// Mapping a part of the write-ahead log's index.
    Map,
}

impl Call {
    /// All of them.
    pub const ALL: [Call; 10] = [
        Call::Open,
        Call::Read,
        Call::Write,
        Call::Sync,
        Call::Truncate,
        Call::Delete,
        Call::Size,
        Call::Access,
        Call::Lock,
        Call::Map,
    ];

    fn name(self) -> &'static str {
        match self {
            Call::Open => "open",
            Call::Read => "read",
            Call::Write => "write",
            Call::Sync => "sync",
            Call::Truncate => "truncate",
            Call::Delete => "delete",
            Call::Size => "size",
            Call::Access => "access",
            Call::Lock => "lock",
            Call::Map => "map",
        }
    }

    /// Whether it changes what is on the disk, so that a power cut before it leaves something else.
    pub fn changes_disk(self) -> bool {
        matches!(self, Call::Write | Call::Sync | Call::Truncate | Call::Delete)
    }
}

/// What is left of the unsynced writes after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Survival {
    /// None of them.
    Lost,
    /// All of them; also what a killed process leaves.
    Kept,
    /// The first ones, the last of these torn.
    Ordered,
    /// Any sectors of any of them, whatever the order.
    Torn,
}

/// What kinds of faults are counted and chosen by.
pub const FAMILIES: [&str; 6] = ["power", "full", "io", "memory", "interrupt", "kill"];

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The power fails.
    Power(Survival),
    /// A write finds the disk full, having written half.
    Full,
    /// A call reports an I/O error.
    Io(Call),
    /// SQLite gets no memory.
    Memory,
    /// A statement is interrupted, at one of the moments at which SQLite asks whether to go on.
    Interrupt,
    /// The host's process is killed, at moments that are numbered.
    Kill,
}

impl Kind {
    /// All of them.
    pub fn all() -> Vec<Kind> {
        let survivals = [Survival::Lost, Survival::Kept, Survival::Ordered, Survival::Torn];
        let mut kinds: Vec<Kind> = survivals.map(Kind::Power).to_vec();
        kinds.push(Kind::Full);
        kinds.extend(Call::ALL.map(Kind::Io));
        kinds.extend([Kind::Memory, Kind::Interrupt, Kind::Kill]);
        kinds
    }

    /// The calls to the disk that it is counted by.
    pub fn watches(self, call: Call) -> bool {
        match self {
            Kind::Power(_) => call.changes_disk(),
            Kind::Full => call == Call::Write,
            Kind::Io(watched) => call == watched,
            Kind::Memory | Kind::Interrupt | Kind::Kill => false,
        }
    }

    /// Whether "from then on" differs from "once": after a power cut or a kill nothing works anyway.
    pub fn can_last(self) -> bool {
        !matches!(self, Kind::Power(_) | Kind::Kill)
    }

    /// The family it is counted and chosen by: one of [`FAMILIES`].
    pub fn family(self) -> &'static str {
        match self {
            Kind::Power(_) => "power",
            Kind::Full => "full",
            Kind::Io(_) => "io",
            Kind::Memory => "memory",
            Kind::Interrupt => "interrupt",
            Kind::Kill => "kill",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Power(Survival::Lost) => to.write_str("power-lost"),
            Kind::Power(Survival::Kept) => to.write_str("power-kept"),
            Kind::Power(Survival::Ordered) => to.write_str("power-ordered"),
            Kind::Power(Survival::Torn) => to.write_str("power-torn"),
            Kind::Full => to.write_str("full"),
            Kind::Io(call) => write!(to, "io-{}", call.name()),
            Kind::Memory => to.write_str("memory"),
            Kind::Interrupt => to.write_str("interrupt"),
            Kind::Kill => to.write_str("kill"),
        }
    }
}

/// One fault: a kind, at the n-th call of its sort, once or from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fault {
    /// What fails.
    pub kind: Kind,
    /// At which call, from 1.
    pub call: u64,
    /// Whether all later ones fail too.
    pub lasting: bool,
}

impl Fault {
    /// Whether it strikes at the call of this number.
    pub fn strikes_at(&self, call: u64) -> bool {
        call == self.call || self.lasting && call > self.call
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}@{}{}", self.kind, self.call, if self.lasting { "+" } else { "" })
    }
}

/// A fault as the disk carries it out.
#[derive(Debug, Clone)]
pub struct Plan {
    fault: Fault,
    /// Chooses what survives.
    pub seed: u64,
    /// Watched calls so far.
    pub seen: u64,
    /// How many calls have failed.
    pub fired: u64,
}

impl Plan {
    /// What the disk is to do about a fault.
    pub fn new(fault: Fault, seed: u64) -> Plan {
        Plan { fault, seed, seen: 0, fired: 0 }
    }

    /// What a power cut leaves, where this is one.
    pub fn power(&self) -> Option<Survival> {
        match self.fault.kind {
            Kind::Power(survival) => Some(survival),
            _ => None,
        }
    }

    /// Whether a failing write has written half, and says that the disk is full.
    pub fn is_full(&self) -> bool {
        self.fault.kind == Kind::Full
    }

    /// Counts a call; true when it is to fail.
    pub fn strikes(&mut self, call: Call) -> bool {
        if !self.fault.kind.watches(call) {
            return false;
        }
        self.seen += 1;
        let strikes = self.fault.strikes_at(self.seen);
        self.fired += u64::from(strikes);
        strikes
    }
}
