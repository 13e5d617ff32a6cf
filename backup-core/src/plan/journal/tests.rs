use super::*;

/// A plan of two steps.
impl Recipe for u32 {
    fn titles_in_format_1(&self) -> Vec<(StepId, String)> {
        let titles = [("one", "do the first thing"), ("two", "do the second thing")];
        titles.map(|(id, title)| (StepId::new(id), title.into())).into()
    }
}

fn head() -> Head<u32> {
    Head::new("test", Utc::now(), 7, ["one", "two"].map(StepId::new).into())
}

fn written(directory: &Path) -> PathBuf {
    let path = directory.join("journal");
    let mut journal = Journal::create(&path, &head()).expect("a journal");
    for (step, mark) in [("one", Mark::Begin), ("one", Mark::Done), ("two", Mark::Begin)] {
        journal.note(&StepId::new(step), mark, Utc::now(), Vec::new()).expect("a mark");
    }
    path
}

/// A journal of format 1 with these titles, the first of which is done and the second begun.
fn of_titles(directory: &Path, titles: [&str; 2]) -> PathBuf {
    let head = serde_json::json!({ "format": 1, "tool": "orchestrator-cli 0.0.1", "kind": "test",
        "created": Utc::now(), "steps": titles, "plan": 7 });
    let lines = [(0, "begin"), (0, "done"), (1, "begin")];
    let lines = lines.map(|(at, mark)| serde_json::json!({ "time": Utc::now(), "step": titles[at], "mark": mark }));
    let (mut check, mut text) = (String::new(), String::new());
    for value in [head].iter().chain(&lines) {
        let (next, line) = line_after(&check, value).expect("JSON");
        check = next;
        text.push_str(&line);
    }
    let path = directory.join("journal");
    fs::write(&path, text).expect("a journal");
    path
}

fn statuses(path: &Path) -> Result<Vec<Status>> {
    Journal::open::<u32>(path).map(|(journal, _)| journal.statuses())
}

#[test]
fn it_says_again_what_it_was_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = written(directory.path());
    assert_eq!(statuses(&path).expect("sound"), [Status::Applied, Status::Applying]);
    assert_eq!(Journal::open::<u32>(&path).expect("sound").1.plan, 7);
}

#[test]
fn titles_of_format_1_are_known_by_id_and_gone_on_with_as_titles() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = of_titles(directory.path(), ["do the first thing", "do the second thing"]);
    let (mut journal, _) = Journal::open::<u32>(&path).expect("sound");
    let two = StepId::new("two");
    assert_eq!(journal.status(&two), Some(Status::Applying));
    journal.note(&two, Mark::Done, Utc::now(), Vec::new()).expect("a mark");
    assert_eq!(statuses(&path).expect("sound"), [Status::Applied, Status::Applied]);
    let text = fs::read_to_string(&path).expect("the journal");
    assert!(text.lines().last().is_some_and(|line| line.contains("do the second thing")), "{text}");
}

#[test]
fn a_title_that_is_no_step_of_the_plan_is_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = of_titles(directory.path(), ["do the first thing", "do the 2nd thing"]);
    let (journal, _) = Journal::open::<u32>(&path).expect("sound");
    assert_eq!(journal.status(&StepId::new("two")), None);
    assert_eq!(journal.status_of(&StepId::new("two")).expect_err("lost").kind(), Kind::Damaged);
}

#[test]
fn cut_at_any_byte_it_is_what_its_whole_lines_say() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = written(directory.path());
    let bytes = fs::read(&path).expect("the journal");
    let expected = [[Status::Waiting; 2], [Status::Applying, Status::Waiting], [Status::Applied, Status::Waiting]];
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).expect("a cut journal");
        let lines = memchr::memchr_iter(b'\n', &bytes[..length]).count();
        match statuses(&path) {
            Ok(found) => assert_eq!(found, expected[lines - 1], "{length}"),
            Err(error) => assert_eq!((lines, error.kind()), (0, Kind::Damaged), "{length}"),
        }
        if lines > 0 {
            // It goes on from there.
            let (mut journal, _) = Journal::open::<u32>(&path).expect("sound");
            journal.note(&StepId::new("two"), Mark::Begin, Utc::now(), Vec::new()).expect("a mark");
            assert_eq!(statuses(&path).expect("sound")[1], Status::Applying);
        }
    }
}

#[test]
fn every_changed_byte_and_every_lost_or_moved_line_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = written(directory.path());
    let bytes = fs::read(&path).expect("the journal");
    let refuse = |bytes: &[u8], what: String| {
        fs::write(&path, bytes).expect("a damaged journal");
        assert_eq!(statuses(&path).expect_err(&what).kind(), Kind::Damaged, "{what}");
    };
    // The last newline is what tells a whole line from a torn one.
    for at in 0..bytes.len() - 1 {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        refuse(&changed, format!("byte {at}"));
    }
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 0..lines.len() - 1 {
        let mut moved = lines.clone();
        moved.swap(at, at + 1);
        refuse(&moved.concat(), format!("line {at} moved"));
        let mut lost = lines.clone();
        lost.remove(at);
        refuse(&lost.concat(), format!("line {at} lost"));
    }
}

#[test]
fn what_was_found_and_accepted_is_known_again_each_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal");
    let finding = |code: &str| Finding::warning(code, "subject", "message").hint("hint");
    let head = head().with_found(vec![finding("before")]);
    let mut journal = Journal::create(&path, &head).expect("a journal");
    let one = StepId::new("one");
    journal.note(&one, Mark::Begin, Utc::now(), Vec::new()).expect("a mark");
    journal.note(&one, Mark::Done, Utc::now(), vec![finding("before"), finding("later")]).expect("a mark");
    journal.accept(&["a".into(), "b".into()], Utc::now()).expect("noted");
    let (mut journal, _) = Journal::open::<u32>(&path).expect("sound");
    assert_eq!(journal.found(), [finding("before"), finding("later")]);
    journal.accept(&["b".into(), "c".into()], Utc::now()).expect("noted");
    let (mut journal, _) = Journal::open::<u32>(&path).expect("sound");
    assert_eq!(journal.accepted(), ["a", "b", "c"]);
    assert_eq!(journal.statuses(), [Status::Applied, Status::Applying]);
    journal.note(&StepId::new("two"), Mark::Done, Utc::now(), Vec::new()).expect("a mark");
    let length = fs::metadata(&path).expect("a journal").len();
    journal.accept(&["d".into()], Utc::now()).expect("nothing to do");
    assert_eq!(fs::metadata(&path).expect("a journal").len(), length, "all is done");
}
