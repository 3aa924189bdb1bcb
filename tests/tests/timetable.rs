//! The timetable of two shops that close in the evening: they send at 21:00 and 22:00, central answers all at its common hour,
//! 23:00, so that each has what the other sold, and they fetch at 23:20 and 23:40. Then a day on which things go otherwise:
//! an immediate exchange although a deferred one is planned, and a flow that gets no answer because a later one has.

use talon_tests::tills::Tills;

/// The follow-up of flows at a site: id, link, from, to, mode, answer, ready, begun, ended, runs, superseded, acknowledged,
/// rows, error; 0 where there is no link, as the shops' own program shows it.
fn follow_up(tills: &Tills, site: char) -> Vec<String> {
    let minute = |column: &str| format!("coalesce(substr({column}, 9, 8), '')");
    tills.at(site).rows(&format!(
        "SELECT id, coalesce(link, 0), from_site, to_site, mode, answer, {}, {}, {}, runs, {}, {}, rows, coalesce(error, '')
           FROM talon_flows ORDER BY id",
        minute("ready"),
        minute("begun"),
        minute("ended"),
        minute("superseded"),
        minute("acknowledged"),
    ))
}

/// What happens at which moment.
struct Evening<'a> {
    tills: &'a Tills,
}

impl Evening<'_> {
    fn at(&self, moment: &str) {
        self.tills.clock(&format!("2026-11-{moment}:00+01:00"));
    }

    fn send(&self, shop: char, moment: &str, answer: &str) {
        self.at(moment);
        let chunks = self.tills.emit(shop, 'A', "changes", answer);
        self.tills.receive('A', &chunks);
    }

    /// Central's program looks at what has come.
    fn process(&self, moment: &str) -> String {
        self.at(moment);
        self.tills.at('A').one("SELECT talon_process()")
    }

    /// A shop fetches central's newest flow for it.
    fn fetch(&self, shop: char, moment: &str) {
        self.at(moment);
        let central = self.tills.at('A');
        let newest =
            central.one(&format!("SELECT max(id) FROM talon_flows WHERE to_site = '{shop}SOC'"));
        self.tills.receive(shop, &talon_tests::tills::chunks(central, &newest));
        self.tills.at(shop).run("SELECT talon_process()");
    }
}

fn sell(tills: &Tills, shop: char, number: u32) {
    tills.at(shop).run(&format!(
        "BEGIN;
         INSERT INTO sale(number, total) VALUES ('{shop}{number}', 12.5);
         INSERT INTO sale_line(sale_id, quantity, price)
           SELECT id, 1, price FROM sale, (SELECT 10.0 AS price UNION ALL SELECT 2.5) WHERE number = '{shop}{number}';
         COMMIT"
    ));
}

fn sales(tills: &Tills, site: char) -> String {
    tills
        .at(site)
        .one("SELECT group_concat(number, ' ') FROM (SELECT number FROM sale ORDER BY number)")
}

#[test]
fn two_shops_send_in_the_evening_and_fetch_what_both_have_sold() {
    let tills = Tills::new();
    let evening = Evening { tills: &tills };
    tills.at('A').run("SELECT talon_return_at('23:00')");

    sell(&tills, 'B', 1);
    sell(&tills, 'C', 1);
    evening.send('B', "20T21:00", "later");
    assert_eq!(evening.process("20T21:01"), r#"{"applied":1,"freed":0,"answered":0}"#);
    evening.send('C', "20T22:00", "later");
    assert_eq!(evening.process("20T22:01"), r#"{"applied":1,"freed":0,"answered":0}"#);
    assert_eq!(evening.process("20T22:59"), r#"{"applied":0,"freed":0,"answered":0}"#);
    assert_eq!(evening.process("20T23:00"), r#"{"applied":0,"freed":0,"answered":2}"#);
    assert_eq!(evening.process("20T23:10"), r#"{"applied":0,"freed":0,"answered":0}"#);
    evening.fetch('B', "20T23:20");
    evening.fetch('C', "20T23:40");

    for site in tills.letters() {
        assert_eq!(sales(&tills, site), "B1 C1", "{site}");
    }
    assert_eq!(
        follow_up(&tills, 'A'),
        [
            "1|3|BSOC|ASOC|changes|later|20T21:00|20T21:01|20T21:01|1|||3|",
            "2|4|CSOC|ASOC|changes|later|20T22:00|20T22:01|20T22:01|1|||3|",
            "3|1|ASOC|BSOC|return|none|20T23:00|||0|||3|",
            "4|2|ASOC|CSOC|return|none|20T23:00|||0|||3|",
        ]
    );
    assert_eq!(
        follow_up(&tills, 'B'),
        [
            "1|2|BSOC|ASOC|changes|later|20T21:00|20T21:01|20T21:01|1||20T23:20|3|",
            "2|1|ASOC|BSOC|return|none|20T23:20|20T23:20|20T23:20|1|||3|",
        ]
    );
    assert_eq!(
        follow_up(&tills, 'C'),
        [
            "1|2|CSOC|ASOC|changes|later|20T22:00|20T22:01|20T22:01|1||20T23:40|3|",
            "2|1|ASOC|CSOC|return|none|20T23:40|20T23:40|20T23:40|1|||3|",
        ]
    );

    // The day after. At noon B misses a tariff that central has just changed, and asks for an answer now.
    evening.at("21T11:55");
    tills.at('A').run("INSERT INTO article(id, code, label, price) VALUES (7, 'T7', 'tea', 4.2)");
    evening.send('B', "21T12:00", "now");
    assert_eq!(evening.process("21T12:00"), r#"{"applied":1,"freed":0,"answered":1}"#);
    evening.fetch('B', "21T12:01");
    assert_eq!(tills.at('B').one("SELECT label, price FROM article"), "tea|4.2");

    // In the evening C's deferred flow comes, but then its line fails until it asks again, with an immediate one: the deferred
    // one gets no answer of its own any more.
    sell(&tills, 'C', 2);
    evening.send('C', "21T22:00", "later");
    evening.process("21T22:01");
    sell(&tills, 'C', 3);
    evening.send('C', "21T22:30", "now");
    assert_eq!(evening.process("21T22:31"), r#"{"applied":1,"freed":0,"answered":1}"#);
    evening.fetch('C', "21T22:32");
    // B's deferred one is answered at the common hour as ever.
    evening.send('B', "21T22:45", "later");
    evening.process("21T22:46");
    assert_eq!(evening.process("21T23:00"), r#"{"applied":0,"freed":0,"answered":1}"#);
    evening.fetch('B', "21T23:01");

    for site in tills.letters() {
        assert_eq!(sales(&tills, site), "B1 C1 C2 C3", "{site}");
    }
    // "begun" and "ended" are what the receiver's work lasted, at both ends. When a return was applied central knows from the
    // shop's next flow, which came at "acknowledged", the last moment: 9 and 11 are still to be heard of. Flow 7 has no link.
    assert_eq!(
        follow_up(&tills, 'A'),
        [
            "1|3|BSOC|ASOC|changes|later|20T21:00|20T21:01|20T21:01|1|||3|",
            "2|4|CSOC|ASOC|changes|later|20T22:00|20T22:01|20T22:01|1|||3|",
            "3|1|ASOC|BSOC|return|none|20T23:00|20T23:20|20T23:20|1||21T12:00|3|",
            "4|2|ASOC|CSOC|return|none|20T23:00|20T23:40|20T23:40|1||21T22:01|3|",
            "5|6|BSOC|ASOC|changes|now|21T12:00|21T12:00|21T12:00|1|||0|",
            "6|5|ASOC|BSOC|return|none|21T12:00|21T12:01|21T12:01|1||21T22:46|1|",
            "7|0|CSOC|ASOC|changes|later|21T22:00|21T22:01|21T22:01|1|21T22:31||3|",
            "8|9|CSOC|ASOC|changes|now|21T22:30|21T22:31|21T22:31|1|||6|",
            "9|8|ASOC|CSOC|return|none|21T22:31|||0|||1|",
            "10|11|BSOC|ASOC|changes|later|21T22:45|21T22:46|21T22:46|1|||0|",
            "11|10|ASOC|BSOC|return|none|21T23:00|||0|||6|",
        ]
    );
    assert_eq!(
        follow_up(&tills, 'C')[2..],
        [
            "3|0|CSOC|ASOC|changes|later|21T22:00|||0|21T22:30||3|",
            "4|5|CSOC|ASOC|changes|now|21T22:30|21T22:31|21T22:31|1||21T22:32|6|",
            "5|4|ASOC|CSOC|return|none|21T22:32|21T22:32|21T22:32|1|||1|",
        ]
    );
}
