// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix inspect`: container, partitions, volumes, installations, hives and their state.

use std::path::PathBuf;

use serde::Serialize;

use super::opening::{interrupted_note, look};
use super::output::Output;
use super::{Common, HEALTHY};
use crate::edit::{HiveName, StorePlace};
use crate::report::{PartitionReport, Report, text};
use crate::volume::{ConcernedFile, JournalState, JournalVerdict, State, TransactionState};
use crate::windows::Installation;
use crate::windows::value::printable;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Disk or volume image, block device or folder
    target: PathBuf,
}

#[derive(Serialize)]
struct Inspection {
    #[serde(flatten)]
    report: Report,
    /// The state of a mounted folder's volume.
    folder: Option<State>,
    hives: Vec<HiveReport>,
    boot_stores: Vec<StoreReport>,
}

/// A boot configuration store.
#[derive(Serialize)]
struct StoreReport {
    store: StorePlace,
    /// The installations that it starts.
    starts: Vec<String>,
    /// What speaks against it, for the others.
    reasons: Vec<String>,
    /// How its file was left, where it can be read.
    notes: Vec<String>,
    error: Option<String>,
}

#[derive(Serialize)]
struct HiveReport {
    installation: String,
    hive: HiveName,
    path: Option<String>,
    state: String,
    version: Option<String>,
    bytes: Option<usize>,
    notes: Vec<String>,
    faults: Vec<String>,
    fatal: usize,
    error: Option<String>,
}

pub(super) fn run(
    common: &Common,
    arguments: &Arguments,
    output: &mut Output,
) -> anyhow::Result<u8> {
    let target = look(&arguments.target, None, common.replays())?;
    let mut report = Report::new(&target);
    report.notes.extend(interrupted_note(&target));
    let mut hives = Vec::new();
    let boot = target.boot()?;
    let mut boot_stores: Vec<StoreReport> = boot
        .stores()
        .iter()
        .map(|store| StoreReport {
            store: store.place.clone(),
            starts: Vec::new(),
            reasons: Vec::new(),
            notes: store
                .file
                .as_ref()
                .map_or(Vec::new(), |file| file.notes.clone()),
            error: store.store().err().map(|error| error.to_string()),
        })
        .collect();
    for installation in target.installations()? {
        for (store, report) in boot.stores().iter().zip(&mut boot_stores) {
            let judged = boot.judge(store, installation.partition, &installation.directory);
            let Ok(judgement) = judged else { continue };
            match (judgement.loader, &store.unreached) {
                (Some(_), None) => report.starts.push(installation.describe()),
                _ => report.reasons.extend(judgement.reasons),
            }
        }
        report.add_installation(&target, &installation);
        if let Err(error) = installation.volume.check_writable() {
            report.notes.push(format!(
                "{} cannot be edited: {error}",
                installation.describe()
            ));
        }
        hives.extend(HiveName::ALL.map(|name| hive(&installation, name)));
    }
    let folder = match target.volumes.as_slice() {
        [opened] if opened.partition.is_none() => match &opened.volume {
            Some(Ok(volume)) => Some(volume.state().clone()),
            _ => None,
        },
        _ => None,
    };
    let inspection = Inspection {
        report,
        folder,
        hives,
        boot_stores,
    };
    if output.is_text() {
        output.text(&print(&inspection, output.page()))?;
    } else {
        output.json(&inspection)?;
    }
    Ok(HEALTHY)
}

fn hive(installation: &Installation, name: HiveName) -> HiveReport {
    let mut report = HiveReport {
        installation: installation.describe(),
        hive: name,
        path: None,
        state: "missing".to_owned(),
        version: None,
        bytes: None,
        notes: Vec::new(),
        faults: Vec::new(),
        fatal: 0,
        error: None,
    };
    match installation.registry.hive(name) {
        Ok(None) => {}
        Ok(Some(file)) => {
            use crate::hive::log::State;
            report.path = Some(file.path.clone());
            report.state = match file.state {
                State::Clean => "clean",
                State::Replayed => "not closed cleanly, logs replayed in memory",
                State::DirtyWithoutUsableLog => "not closed cleanly, logs lost",
            }
            .to_owned();
            let block = file.hive.base_block();
            report.version = Some(format!("{}.{}", block.major, block.minor));
            report.bytes = Some(file.hive.bytes().len());
            report.notes.clone_from(&file.notes);
            report.faults = file.faults().iter().map(ToString::to_string).collect();
            report.fatal = file.faults().iter().filter(|fault| fault.fatal).count();
        }
        Err(error) => {
            report.state = "unreadable".to_owned();
            report.error = Some(error.to_string());
        }
    }
    report
}

fn print(inspection: &Inspection, page: text::Page) -> String {
    let report = &inspection.report;
    let mut out = text::header(report, page);
    let target = &report.target;
    if let Some(id) = &target.disk_id {
        out.push_str(&format!("Disk id  {id}\n"));
    }
    if let Some(sector_size) = target.sector_size {
        out.push_str(&format!("Sectors  {sector_size} bytes\n"));
    }
    for partition in &target.partitions {
        out.push_str(&print_partition(partition));
    }
    if let Some(state) = &inspection.folder {
        out.push_str(&print_state(state));
    }
    for hive in &inspection.hives {
        let size = hive.bytes.map_or(String::new(), |bytes| {
            format!(", {}", text::size(bytes as u64))
        });
        let version = hive
            .version
            .as_ref()
            .map_or(String::new(), |version| format!(", version {version}"));
        out.push_str(&format!(
            "Hive     {} of {}: {}{version}{size}\n",
            hive.hive.file_name(),
            hive.installation,
            hive.state
        ));
        for note in hive.notes.iter().chain(&hive.error) {
            out.push_str(&format!("         {note}\n"));
        }
        for fault in &hive.faults {
            out.push_str(&format!("         fault: {fault}\n"));
        }
    }
    for store in &inspection.boot_stores {
        let starts = match store.starts.as_slice() {
            [] => "starts no Windows of this target".to_owned(),
            starts => format!("starts {}", starts.join(", ")),
        };
        out.push_str(&format!("Boot     {}: {starts}\n", store.store));
        let lines = store.reasons.iter().chain(&store.notes);
        for line in lines.chain(&store.error) {
            out.push_str(&format!("         {}\n", printable(line)));
        }
    }
    out.push_str(&text::shorten(&format!(
        "{}: {}, {}, {}",
        target.path,
        target.container.as_deref().unwrap_or("unknown"),
        text::count(target.partitions.len() as u64, "partition"),
        text::count(report.installations.len() as u64, "Windows installation")
    )));
    out.push('\n');
    out
}

fn print_partition(partition: &PartitionReport) -> String {
    let name = partition
        .name
        .as_ref()
        .filter(|name| !name.is_empty())
        .map_or(String::new(), |name| format!(" \"{name}\""));
    let mut out = format!(
        "\nPartition {}{name}: {:?}, {} at {:#x}, type {}\n",
        partition.number,
        partition.content,
        text::size(partition.len),
        partition.offset,
        partition.type_name
    );
    if let Some(state) = &partition.volume {
        out.push_str(&print_state(state));
    }
    if let Some(error) = &partition.error {
        out.push_str(&format!("  cannot be opened: {error}\n"));
    }
    out
}

fn print_state(state: &State) -> String {
    let mut facts = vec![state.file_system.to_owned()];
    if let Some(label) = state.label.as_ref().filter(|label| !label.is_empty()) {
        facts.push(format!("label \"{}\"", printable(label)));
    }
    facts.extend(
        state
            .serial
            .as_ref()
            .map(|serial| format!("serial {serial}")),
    );
    facts.extend(
        state
            .cluster_size
            .map(|size| format!("clusters of {}", text::size(size.into()))),
    );
    let mut out = format!("  volume: {}\n", facts.join(", "));
    if state.dirty {
        out.push_str("  marked dirty: Windows will check it when it starts\n");
    }
    if state.hibernated {
        out.push_str("  hibernated, or shut down with fast start-up: nothing may be written\n");
    }
    if let Some(journal) = &state.journal {
        out.push_str(&print_journal(journal));
    }
    out
}

/// What is in the journal, and what that means for a repair.
fn print_journal(journal: &JournalState) -> String {
    /// How many transactions and files are listed; JSON has more.
    const LISTED: usize = 20;
    const NOTHING: &str = "nothing can be changed, unless it is discarded";
    let (verdict, meaning) = match journal.verdict {
        JournalVerdict::Clean => ("clean", None),
        JournalVerdict::Idle => ("idle", Some("the first change closes it")),
        JournalVerdict::Pending if journal.is_replayed() => (
            "pending, carried out in memory",
            Some("the first change carries it out on the disk, and closes it"),
        ),
        JournalVerdict::Pending if journal.reason.is_none() => (
            "pending",
            Some(
                "only contents that it does not concern can be overwritten, unless it is discarded",
            ),
        ),
        JournalVerdict::Pending => ("pending", Some(NOTHING)),
        JournalVerdict::Refused => ("cannot be analysed", Some(NOTHING)),
    };
    let mut facts = vec![verdict.to_owned()];
    let version = journal.version.as_ref();
    facts.extend(version.map(|version| format!("version {version}")));
    let end = journal.end_lsn.as_ref();
    facts.extend(end.map(|lsn| format!("its end at LSN {lsn}")));
    facts.extend((journal.verdict == JournalVerdict::Pending).then(|| journal.numbers()));
    let mut out = format!("  journal ($LogFile): {}\n", facts.join(", "));
    let transactions = journal.open_transactions.iter().take(LISTED).map(|open| {
        let state = match open.state {
            TransactionState::Active => "to be taken back",
            TransactionState::Prepared => "prepared",
        };
        format!(
            "open transaction {:#x}: {state}, from LSN {}",
            open.id, open.undo_next_lsn
        )
    });
    let operations = journal.operations.iter().map(|operation| {
        let back = match operation.undo {
            0 => String::new(),
            undo => format!(", {undo} to take back"),
        };
        format!(
            "waiting: {}, {} to do again{back}",
            operation.name, operation.redo
        )
    });
    let file = |what: &str, file: &ConcernedFile| {
        let path = file.path.as_ref();
        let path = path.map_or(String::new(), |path| format!(", {}", printable(path)));
        format!("{what}: MFT record {}{path}", file.record)
    };
    let files = journal.files.iter().take(LISTED);
    let files = files.map(|found| file("concerned", found));
    let replay = journal.replay.iter().map(|replay| match &replay.reason {
        Some(reason) => format!("it cannot be carried out: {reason}"),
        None => format!(
            "carried out: {}, {} on the disk already, {} of clusters freed since, {} taken back",
            text::count(replay.redone, "record"),
            replay.on_disk,
            replay.void,
            replay.undone
        ),
    });
    let unlogged = journal.replay.iter().flat_map(|replay| &replay.unlogged);
    let unlogged = unlogged.take(LISTED);
    let unlogged = unlogged.map(|found| {
        file(
            "its last content was never logged, zeros may be there",
            found,
        )
    });
    let more = |all: u64, what: &str| {
        let more = all.saturating_sub(LISTED as u64);
        (more > 0).then(|| format!("and {}", text::count(more, what)))
    };
    let lines = journal.reason.clone().into_iter();
    let lines = lines
        .chain(journal.how.clone())
        .chain(operations)
        .chain(transactions)
        .chain(more(journal.transactions, "more transaction"))
        .chain(files)
        .chain(more(journal.concerned, "more MFT record"))
        .chain(replay)
        .chain(unlogged)
        .chain(meaning.map(str::to_owned))
        .chain(journal.warning.clone());
    for line in lines {
        out.push_str(&format!("    {line}\n"));
    }
    out
}
