//! After a restore: the machines are listed and logged in to, and each must be who it was.

use rexpect::session::{PtySession, spawn_command};
use system_tests::{Cluster, describe};

const HOSTS: [&str; 3] = ["10.98.0.11", "10.98.0.12", "10.98.0.13"];
/// Milliseconds that anything on a terminal may take.
const PATIENCE: Option<u64> = Some(60_000);

const CONF: &str = "machines: {
  central: { hosts: [10.98.0.11, 10.98.0.12], suitable_tags: [nats-server, router] }
  data: { hosts: [10.98.0.13], suitable_tags: [component-database] }
}
components: { nats-server: 2, router: 1, component-database: 1 }
";

fn on_a_terminal(cluster: &Cluster, arguments: &[&str]) -> PtySession {
    spawn_command(cluster.command(arguments), PATIENCE).expect("a pseudo-terminal")
}

const MENU: &str = "1) IP: 10.98.0.11, Name: 592db599, Tags: nats-server,router\n\
    2) IP: 10.98.0.12, Name: b4d93e38, Tags: nats-server\n";

#[test]
fn machines_are_listed_and_reached_by_name_address_part_zone_and_tag() {
    let cluster = Cluster::restored(CONF, &HOSTS);
    let all = cluster.run(&["nodes", "-c", "cluster.conf"]);
    let text = String::from_utf8_lossy(&all.stdout).into_owned();
    assert_eq!(all.status.code(), Some(0), "{}", describe(&all));
    assert!(HOSTS.iter().all(|host| text.contains(host)) && text.matches("as before").count() == 3, "{text}");
    for query in ["component-database", "10.98.0.13", "0.13", "data"] {
        let said = cluster.run(&["ssh", query, "-c", "cluster.conf", "--", "echo", "$SSH_CONNECTION"]);
        assert!(said.status.success(), "{query}: {}", describe(&said));
        assert!(String::from_utf8_lossy(&said.stdout).contains(" 10.98.0.13 22"), "{query}: {}", describe(&said));
    }
    // What runs there ends as it ends.
    let failed = cluster.run(&["ssh", "data", "-c", "cluster.conf", "--", "exit", "7"]);
    assert_eq!(failed.status.code(), Some(7), "{}", describe(&failed));
    let none = cluster.run(&["ssh", "nowhere", "-c", "cluster.conf"]);
    assert_eq!(none.status.code(), Some(10), "{}", describe(&none));
}

#[test]
fn of_several_machines_one_is_picked_from_the_menu_of_the_reference() {
    let cluster = Cluster::restored(CONF, &HOSTS);
    let arguments = ["ssh", "nats-server", "-c", "cluster.conf", "--", "echo", "on $SSH_CONNECTION"];
    let menu = format!("Multiple nodes matched your query, please select which:\n{MENU}\n").replace('\n', "\r\n");
    // The first by default; a number; a number after what is none. This terminal does not repeat what is typed.
    for (typed, again, host) in [
        (&[""][..], "", HOSTS[0]),
        (&["2"], "", HOSTS[1]),
        (&["3", "2"], "There are numbers from 1 to 2.\r\nPick a host [1]: ", HOSTS[1]),
    ] {
        let mut terminal = on_a_terminal(&cluster, &arguments);
        let mut shown = String::new();
        for line in typed {
            shown += &terminal.exp_string("Pick a host [1]: ").expect("the question");
            shown += "Pick a host [1]: ";
            terminal.send_line(line).expect("sent");
        }
        let rest = terminal.exp_eof().expect("the end");
        assert_eq!(shown, format!("{menu}Pick a host [1]: {again}"));
        assert!(rest.starts_with("on ") && rest.ends_with(&format!(" {host} 22\r\n")), "{rest:?}");
    }
    // Nobody can be asked: the list, and nothing is reached.
    let json = cluster.run(&["ssh", "nats-server", "-c", "cluster.conf", "--json"]);
    assert!(json.status.code() == Some(2) && json.stdout.starts_with(b"{\"kind\":\"ssh\""), "{}", describe(&json));
    let listed = cluster.run(&arguments);
    assert_eq!((listed.status.code(), String::from_utf8_lossy(&listed.stdout).as_ref()), (Some(2), MENU));
}

#[test]
fn a_machine_with_another_key_is_not_logged_in_to() {
    let mut cluster = Cluster::restored(CONF, &HOSTS);
    cluster.network.host(HOSTS[2]);
    let refused = cluster.run(&["ssh", "data", "-c", "cluster.conf", "--", "echo", "in"]);
    let all = describe(&refused);
    assert_eq!(refused.status.code(), Some(13), "{all}");
    assert!(all.contains("SSH host key changed: expected ") && all.contains("--accept-host-key"), "{all}");
    cluster.network.take_down(HOSTS[1]);
    let listed = cluster.run(&["nodes", "-c", "cluster.conf"]);
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert_eq!(listed.status.code(), Some(3), "{text}");
    let line = |host: &str| text.lines().find(|line| line.contains(host)).unwrap_or_default().to_owned();
    assert!(line(HOSTS[2]).contains("CHANGED") && line(HOSTS[1]).ends_with("no"), "{text}");
}
