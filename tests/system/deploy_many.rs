//! A deploy of three hundred machines.

use std::fs;

use serde_json::Value;
use system_tests::{Cluster, describe};

/// Machines at once, at most.
const AT_ONCE: usize = 12;

#[test]
fn three_hundred_machines_are_deployed_level_by_level_and_no_more_at_once_than_may_be() {
    let hosts: Vec<String> = (1..=3).flat_map(|net| (1..=100).map(move |host| format!("10.98.{net}.{host}"))).collect();
    let names: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let (first, second) = names.split_at(150);
    let conf = format!(
        "machines: {{ data: {{ hosts: [{}], suitable_tags: [kv-store] }}\ncentral: {{ hosts: [{}], suitable_tags: [vault] }} }}\n\
         components: {{ kv-store: 150, vault: 150 }}\nchef: {{ continuum: {{ cluster_name: example }} }}\n",
        first.join(", "),
        second.join(", ")
    );
    let cluster = Cluster::known(&conf, &names);
    let (own, running) = (cluster.network.own().display().to_string(), cluster.place.path("running"));
    fs::create_dir(&running).expect("a directory");
    // Each notes itself and how many run beside it.
    let agent = format!(
        "cd {}; touch run-$$; ls | grep -c ^run- >> most; echo $(cat {own}/name) >> order; rm run-$$\n",
        running.display()
    );
    for host in &names {
        fs::write(cluster.network.disk(host).join("agent"), &agent).expect("an agent");
        fs::write(cluster.network.disk(host).join("name"), host).expect("a name");
    }
    cluster.place.write(
        "settings.toml",
        format!(
            "cluster_conf = 'cluster.conf'\nrelease.version = '2.6.3'\ndeploy.at_once = {AT_ONCE}\n[[stores]]\npath = 'bundles'\n\
             [agent]\nsettings = '{own}/orchestrator.json'\ncommand = ['sh', '{own}/agent']\nversion = ['true']\nsudo = false\n\
             orchestrator = '10.99.0.1'\n"
        ),
    );
    let deployed = cluster.run(&["deploy", "-c", "settings.toml", "--yes", "--json", "--quiet"]);
    assert!(deployed.status.success(), "{}", describe(&deployed));
    let document: Value = serde_json::from_slice(&deployed.stdout).expect("JSON");
    let machines = document["result"]["machines"].as_array().expect("machines");
    assert!(machines.len() == names.len() && machines.iter().all(|machine| machine["state"] == "deployed"));
    let order = fs::read_to_string(running.join("order")).expect("the order");
    let order: Vec<&str> = order.lines().collect();
    assert!(order.len() == names.len() && order[..150].iter().all(|host| first.contains(host)), "{order:?}");
    let most = fs::read_to_string(running.join("most")).expect("numbers");
    let most = most.lines().filter_map(|line| line.parse::<usize>().ok()).max();
    assert!(most.is_some_and(|most| most <= AT_ONCE), "{most:?}");
}
