//! What happens in one build, on its way to the observer, to the build's driver and to the log file.

use std::path::Path;

use plimsoll_core::event::{Event, Header, Record};
use plimsoll_core::{BuildNo, Bytes, Millis};
use plimsoll_history::EventLog;
use plimsoll_proto::ToDriver;

use crate::connection::ClientConnection;
use crate::options::Observer;

/// The records of one build.
pub(crate) struct BuildLog {
    header: Header,
    /// The governor's time when the build came: its records count from there.
    started: Millis,
    /// The budget, as last told.
    budget: Bytes,
    file: Option<EventLog>,
    /// What happened and was not passed on yet.
    records: Vec<Record>,
    /// The observer knows of the build.
    announced: bool,
}

impl BuildLog {
    pub(crate) fn new(header: Header, now: Millis) -> Self {
        let budget = header.budget;
        Self { header, started: now, budget, file: None, records: Vec::new(), announced: false }
    }

    /// Its first line.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Since the build came.
    pub(crate) fn elapsed(&self, now: Millis) -> Millis {
        now - self.started
    }

    /// The build's budget, as last told.
    pub(crate) fn budget(&self) -> Bytes {
        self.budget
    }

    /// Something happened.
    pub(crate) fn say(&mut self, now: Millis, event: Event) {
        self.records.push(Record { t: now - self.started, event });
    }

    /// The budget is this: said where that is news.
    pub(crate) fn say_line(&mut self, now: Millis, budget: Bytes) {
        let before = std::mem::replace(&mut self.budget, budget);
        if !self.announced {
            self.header.budget = budget;
        } else if before != budget {
            self.say(now, Event::Budget { budget });
        }
    }

    /// Passes on what happened; a file is begun in `directory` with the first unit: a build in which nothing is compiled
    /// leaves none. `flush`: what the file has yet to write is written.
    pub(crate) fn pass_on(
        &mut self,
        now: Millis,
        no: BuildNo,
        directory: &Path,
        flush: bool,
        observer: &mut dyn Observer,
        mut driver: Option<&mut ClientConnection>,
    ) {
        let mut records = std::mem::take(&mut self.records);
        let registers = |record: &Record| matches!(record.event, Event::Registered { .. });
        if self.file.is_none() && records.iter().any(registers) {
            let (file, warning) = EventLog::create(directory, &self.header);
            self.file = Some(file);
            let t = now - self.started;
            records.extend(warning.map(|text| Record { t, event: Event::Unlogged { text } }));
        }
        if !std::mem::replace(&mut self.announced, true) {
            observer.opened(no, &self.header);
        }
        for record in &records {
            observer.record(no, record);
            if let Some(driver) = &mut driver
                && let Ok(json) = serde_json::to_string(record)
            {
                driver.send_line(&ToDriver::Record(json).encode());
            }
            if let Some(file) = &mut self.file {
                file.append(record);
            }
        }
        if flush && let Some(text) = self.file.as_mut().and_then(EventLog::flush) {
            self.say(now, Event::Unlogged { text });
        }
    }

    /// The build is over.
    pub(crate) fn close(mut self) {
        if let Some(file) = &mut self.file {
            let _ = file.flush();
        }
    }
}
