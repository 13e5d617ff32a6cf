//! Servers that are not Amazon's: everything comes out right there, or they are refused before anything is sent, with what they lack.

mod site;

use fixtures::Postgres;
use fixtures::s3::{BUCKET, Odd, S3Server, odd_servers};
use site::Site;
use system_tests::describe;

/// The trials' bytes of all that is refused are fewer.
const FEW: u64 = 5 << 10;

#[test]
fn on_every_odd_server_all_is_right_or_nothing_is_sent() {
    let database = Postgres::start();
    database.load_sample(20);
    let servers = odd_servers();
    std::thread::scope(|scope| {
        for odd in &servers {
            let database = &database;
            let run = move || {
                let s3 = S3Server::with(odd.abilities);
                let site = Site::new(BUCKET, s3.environment().into(), database);
                match odd.lacks {
                    None => all_is_right(odd, &s3, &site),
                    Some(words) => is_refused(words, &s3, &site),
                }
            };
            std::thread::Builder::new().name(odd.name.into()).spawn_scoped(scope, run).expect("a thread");
        }
    });
}

/// Files of the bucket with this in their names.
fn files(s3: &S3Server, part: &str) -> Vec<String> {
    s3.files().into_iter().filter(|file| file.starts_with(BUCKET) && file.contains(part)).collect()
}

fn all_is_right(odd: &Odd, s3: &S3Server, site: &Site) {
    let name = site.all_is_right();
    assert!(s3.objects().join(format!("{name}.sha256")).exists(), "{:?}", s3.files());
    // Without a list of uploads nobody sees what is left.
    let cleaned = describe(&site.run("cleanup -c o.toml --older-than 0 --yes"));
    let unseen = !odd.abilities.lists_uploads && cleaned.contains("501");
    assert!(cleaned.contains("nothing was left") || unseen, "{cleaned}");
    assert!(
        files(s3, "trial").is_empty() && !s3.files().iter().any(|file| file.contains(".part-")),
        "{:?}",
        s3.files()
    );
    let encodings = s3.was_sent().1;
    assert!(encodings.is_empty(), "what is sent is as it is: {encodings:?}");
}

fn is_refused(words: &str, s3: &S3Server, site: &Site) {
    for line in ["check -c o.toml", "backup -c o.toml", "backup -c o.toml --json"] {
        let output = site.run(line);
        let all = describe(&output);
        assert!(!matches!(output.status.code(), Some(0 | 3)) && all.contains(words), "{line}: {all}");
    }
    // A claim needs less, and may be had where a bundle can't.
    let claimed = site.run("ownership claim -c o.toml --yes");
    let all = describe(&claimed);
    assert!(matches!(claimed.status.code(), Some(0 | 3)) || all.contains(words), "{all}");
    let sent = s3.was_sent().0;
    assert!(files(s3, ".tgz").is_empty() && sent < FEW, "{sent} bytes, {:?}", s3.files());
    assert!(files(s3, "trial").is_empty(), "{:?}", s3.files());
    let parts = s3.files().iter().any(|file| file.contains(".part-"));
    assert!(!parts || words.contains("can't give up"), "{:?}", s3.files());
}
