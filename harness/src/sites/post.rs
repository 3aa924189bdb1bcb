//! What carries flows: by network, by folder and by USB key at once, and none of them well.

use fastrand::Rng;

/// A flow on its way, as the chunks that its sender gave.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// To which site.
    pub to: usize,
    pub chunks: Vec<Vec<u8>>,
    /// Something happened to it that its receiver must notice.
    pub is_spoilt: bool,
}

/// Everything on its way.
#[derive(Debug, Default)]
pub struct Post {
    parcels: Vec<Parcel>,
    /// How many were lost, doubled, came out of order, were spoilt.
    pub mishaps: u64,
}

impl Post {
    /// Takes a parcel, or loses it, or copies it.
    pub fn send(&mut self, random: &mut Rng, parcel: Parcel) {
        match random.u8(..20) {
            0 | 1 => self.mishaps += 1,
            2 | 3 => {
                self.mishaps += 1;
                self.parcels.push(parcel.clone());
                self.parcels.push(parcel);
            }
            4 => {
                self.mishaps += 1;
                let mut spoilt = parcel.clone();
                spoil(random, &mut spoilt);
                self.parcels.push(spoilt);
                self.parcels.push(parcel);
            }
            _ => self.parcels.push(parcel),
        }
    }

    /// What is handed to a site now: mostly all, mostly in order.
    pub fn deliver(&mut self, random: &mut Rng, to: usize) -> Vec<Parcel> {
        let mut here = Vec::new();
        let mut later = Vec::new();
        for parcel in self.parcels.drain(..) {
            if parcel.to == to && random.u8(..10) > 0 { &mut here } else { &mut later }
                .push(parcel);
        }
        self.parcels = later;
        if random.u8(..5) == 0 && here.len() > 1 {
            self.mishaps += 1;
            random.shuffle(&mut here);
        }
        here
    }

    /// Takes a parcel that nothing happens to.
    pub fn hand_over(&mut self, parcel: Parcel) {
        self.parcels.push(parcel);
    }

    /// All that has come for a site, in order.
    pub fn collect(&mut self, to: usize) -> Vec<Parcel> {
        let (here, later) = self.parcels.drain(..).partition(|parcel| parcel.to == to);
        self.parcels = later;
        here
    }

    /// Everything that is still on its way, for nobody.
    pub fn clear(&mut self) {
        self.parcels.clear();
    }
}

/// Cuts a chunk short, flips one of its bits, or takes one away.
fn spoil(random: &mut Rng, parcel: &mut Parcel) {
    let place = random.usize(..parcel.chunks.len());
    let chunk = &mut parcel.chunks[place];
    if random.bool() {
        let at = random.usize(..chunk.len());
        chunk[at] ^= 1 << random.u8(..8);
    } else {
        chunk.truncate(random.usize(..chunk.len()));
    }
    parcel.is_spoilt = true;
}
