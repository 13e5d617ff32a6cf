//! Bundles are signed by a key of SSH's kind, known by it everywhere, and refused without where the settings say so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fixtures::Postgres;
use serde_json::Value;
use system_tests::{Workplace, another_second, describe, reachable};

fn run(command: &mut Command) -> Output {
    command.output().expect("it runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", describe(output)))
}

/// A machine with a key, and settings that trust it.
fn signing_machine(more: &str) -> (Workplace, String) {
    let place = Workplace::default();
    let made = run(&mut place.cli(&["key", "generate", "--signing", "signing.key"]));
    assert!(made.status.success(), "{}", describe(&made));
    let mode = fs::metadata(place.path("signing.key")).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let public = String::from_utf8(made.stdout).expect("text").trim().to_owned();
    assert!(public.starts_with("ssh-ed25519 AAAA"), "{public}");
    settings(&place, &format!("[signing]\nkey = 'signing.key'\n{more}[signing.trusted]\nops = '{public}'\n"));
    (place, public)
}

fn settings(place: &Workplace, more: &str) {
    let text =
        format!("cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\npath = 'bundles'\n{more}");
    place.write("o.toml", text);
}

fn backup(place: &Workplace, server: &Postgres, more: &[&str]) -> PathBuf {
    another_second();
    let mut command = place.cli(&[&["backup", "-c", "o.toml", "--json"], more].concat());
    let made = json(&run(command.envs(server.variables())));
    place.path(made["result"]["published"][0].as_str().unwrap_or_else(|| panic!("{made}")))
}

/// What `ssh-keygen` says of a bundle's signature, given its manifest's digest as any shell makes it.
fn by_hand(place: &Workplace, bundle: &Path, public: &str) -> bool {
    place.write("allowed", format!("ops {public}\n"));
    let script = "tail -c 122 \"$1\" | head -c 80 | tail -c 32 | od -An -v -tx1 | tr -d ' \\n' | sed '$a\\' | \
                  ssh-keygen -Y verify -f allowed -I ops -n orchestrator-cli-bundle -s \"$1.sig\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash"]).arg(bundle).current_dir(place.path("")).stdin(Stdio::null());
    run(&mut command).status.success()
}

#[test]
fn a_signed_bundle_is_known_on_another_machine_and_by_ssh_keygen() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let (place, public) = signing_machine("");
    let bundle = backup(&place, &server, &[]);
    assert!(by_hand(&place, &bundle, &public));
    // A machine that is new has no journal; it has the key's public half.
    let other = Workplace::default();
    settings(&other, &format!("[signing.trusted]\nops = '{public}'\n"));
    let shown = bundle.display().to_string();
    let verify = |place: &Workplace| run(&mut place.cli(&["verify", "-c", "o.toml", &shown]));
    let text = describe(&verify(&other));
    assert!(text.contains("every byte is as it was written, signed by ops"), "{text}");
    let listed =
        json(&run(&mut other.cli(&["list", "-c", "o.toml", "--json", &place.path("bundles").display().to_string()])));
    let first = &listed["result"]["bundles"][0];
    assert_eq!((&first["origin"], &first["signed_by"]), (&"signed".into(), &"ops".into()), "{listed}");
    let inside = reachable();
    let drill = |place: &Workplace, more: &[&str]| {
        let mut command = place.cli(&[&["drill", "-c", "o.toml", &shown], more].concat());
        run(command.arg("--in").arg(inside.path()).env("PATH", server.path()))
    };
    let drilled = json(&drill(&other, &["--json"]));
    assert_eq!(
        (&drilled["result"]["passed"], &drilled["result"]["signed_by"]),
        (&true.into(), &"ops".into()),
        "{drilled}"
    );
    // That drill is of a machine that has no key: no other one believes in its record.
    let known = |place: &Workplace| {
        let listed = json(&run(&mut place.cli(&["list", "-c", "o.toml", "--json", &place_of(&bundle)])));
        listed["result"]["bundles"][0]["drill_known"].clone()
    };
    assert_eq!((known(&other), known(&place)), (true.into(), false.into()));
    // One that was drilled with the key is known by it.
    let drilled = drill(&place, &[]);
    assert!(describe(&drilled).contains("; signed by ops"), "{}", describe(&drilled));
    assert_eq!((known(&other), known(&place)), (true.into(), true.into()));
    // Another bundle's signature is none of this one's.
    let second = backup(&place, &server, &[]);
    fs::copy(sig(&second), sig(&bundle)).expect("copied");
    assert!(!by_hand(&place, &bundle, &public) && by_hand(&place, &second, &public));
    let text = describe(&verify(&other));
    assert!(text.contains("nothing here knows who made it"), "{text}");
    assert!(describe(&verify(&place)).contains("by this machine"));
}

fn sig(bundle: &Path) -> PathBuf {
    format!("{}.sig", bundle.display()).into()
}

fn place_of(bundle: &Path) -> String {
    bundle.parent().expect("a store").display().to_string()
}

#[test]
fn where_signatures_are_demanded_nothing_unsigned_is_restored_drilled_or_called_sound() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let (place, public) = signing_machine("required = true\n");
    let signed = backup(&place, &server, &[]);
    let restore = |place: &Workplace, bundle: &Path| {
        let mut command = place.cli(&["restore", "-c", "o.toml", "--dry-run", "--file"]);
        run(command.arg(bundle).envs(server.variables()))
    };
    let verify = |place: &Workplace, bundle: &Path| run(place.cli(&["verify", "-c", "o.toml"]).arg(bundle));
    assert!(verify(&place, &signed).status.success(), "{}", describe(&verify(&place, &signed)));
    let text = describe(&restore(&place, &signed));
    assert!(text.contains("as it was written, signed by ops") && !text.contains("has signed it"), "{text}");
    // This machine made it, and has it in its journal; that is not what was asked for.
    fs::remove_file(sig(&signed)).expect("removed");
    for output in
        [verify(&place, &signed), restore(&place, &signed), run(place.cli(&["drill", "-c", "o.toml"]).arg(&signed))]
    {
        let text = describe(&output);
        assert!(
            output.status.code() == Some(13) && text.contains("no key that the settings trust has signed it"),
            "{text}"
        );
    }
    // To demand what nobody can have is a slip.
    settings(&place, "[signing]\nrequired = true\n");
    assert_eq!(verify(&place, &signed).status.code(), Some(2));
    // A key that can't be read ends a backup before anything is written.
    settings(&place, &format!("[signing]\nkey = 'nowhere.key'\n[signing.trusted]\nops = '{public}'\n"));
    let before = place.bundles().len();
    let refused = run(place.cli(&["backup", "-c", "o.toml"]).envs(server.variables()));
    assert!(
        describe(&refused).contains("read the signing key") && place.bundles().len() == before,
        "{}",
        describe(&refused)
    );
}

#[test]
fn an_encrypted_bundle_is_signed_too_and_a_stream_gives_its_signature() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let (place, public) = signing_machine("");
    let made = run(&mut place.cli(&["key", "generate", "identity.key"]));
    let recipient = String::from_utf8(made.stdout).expect("text").trim().to_owned();
    let bundle = backup(&place, &server, &["--recipient", &recipient]);
    assert!(bundle.display().to_string().ends_with(".tgz.age") && sig(&bundle).is_file());
    let other = Workplace::default();
    settings(&other, &format!("[signing.trusted]\nops = '{public}'\n"));
    let identity = place.path("identity.key").display().to_string();
    let text = describe(&run(other.cli(&["verify", "-c", "o.toml", "--identity", &identity]).arg(&bundle)));
    assert!(text.contains("as it was written, signed by ops"), "{text}");
    // Standard output has no place beside it.
    another_second();
    let mut command = place.cli(&["backup", "-c", "o.toml", "--to", "-"]);
    let streamed = run(command.envs(server.variables()));
    let said = String::from_utf8_lossy(&streamed.stderr).into_owned();
    let begin = said.find("-----BEGIN SSH SIGNATURE-----").unwrap_or_else(|| panic!("{said}"));
    let end = said.find("-----END SSH SIGNATURE-----").expect("its end") + "-----END SSH SIGNATURE-----".len();
    let stream = place.write("streamed.tgz", &streamed.stdout);
    place.write("streamed.tgz.sig", format!("{}\n", &said[begin..end]));
    assert!(by_hand(&place, &stream, &public));
    let text = describe(&run(other.cli(&["verify", "-c", "o.toml"]).arg(&stream)));
    assert!(text.contains("signed by ops"), "{text}");
}

#[test]
fn where_signatures_are_demanded_only_a_signed_claim_takes_a_cluster_away() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE TABLE t ()");
    let (place, public) = signing_machine("required = true\n");
    let claims = || {
        let names = fs::read_dir(place.path("bundles")).expect("a store").flatten().map(|entry| entry.path());
        let mut claims: Vec<PathBuf> = names.filter(|path| path.display().to_string().contains("claim")).collect();
        claims.sort();
        claims
    };
    let own = |place: &Workplace, arguments: &[&str]| {
        run(&mut place.cli(&[&["ownership"], arguments, &["--yes", "-c", "o.toml"]].concat()))
    };
    backup(&place, &server, &[]);
    let claimed = own(&place, &["claim"]);
    assert!(claimed.status.success(), "{}", describe(&claimed));
    let first = claims().pop().expect("a claim");
    let text = fs::read_to_string(&first).expect("a claim");
    let claim: Value = serde_json::from_str(&text).expect("JSON");
    assert!(claim["signature"].as_str().is_some_and(|text| text.starts_with("-----BEGIN SSH")), "{text}");
    // What somebody else wrote of the next epoch: unsigned, and with the signature of another claim.
    let second = PathBuf::from(first.display().to_string().replace("0000000001", "0000000002"));
    assert_ne!(first, second);
    for signature in [Value::Null, claim["signature"].clone()] {
        let mut forged = claim.clone();
        forged["epoch"] = 2.into();
        forged["owner"] = "00112233445566778899aabbccddeeff".into();
        forged["signature"] = signature;
        fs::write(&second, forged.to_string()).expect("written");
        another_second();
        let output = run(place.cli(&["backup", "-c", "o.toml"]).envs(server.variables()));
        let text = describe(&output);
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(text.contains("no key that the settings trust has signed it"), "{text}");
    }
    fs::remove_file(&second).expect("removed");
    // A machine with the same key may take it.
    let other = Workplace::default();
    let key = fs::read(place.path("signing.key")).expect("a key");
    other.write("signing.key", key);
    let store = place.path("bundles").display().to_string();
    other.write(
        "o.toml",
        format!(
            "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\n[[stores]]\npath = '{store}'\n\
             [signing]\nkey = 'signing.key'\nrequired = true\n[signing.trusted]\nops = '{public}'\n"
        ),
    );
    let taken = own(&other, &["claim"]);
    assert!(taken.status.success(), "{}", describe(&taken));
    another_second();
    let refused = run(place.cli(&["backup", "-c", "o.toml"]).envs(server.variables()));
    assert_eq!(refused.status.code(), Some(13), "{}", describe(&refused));
    assert!(describe(&refused).contains("this machine does not own"), "{}", describe(&refused));
}
