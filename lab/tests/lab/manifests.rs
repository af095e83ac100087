//! Would a cluster take the manifests, and do they lead where they say?
//!
//! Schemas know fields, not names: a selector that matches nobody is valid everywhere, and serves
//! nobody.

#![expect(clippy::unwrap_used, reason = "a test that cannot read a manifest has failed")]

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    lints::{checker, said},
    tidy::workspace,
};

/// The oldest and the newest version of Kubernetes that the manifests are for.
const VERSIONS: [&str; 2] = ["1.30.0", "1.37.0"];

/// What `kubectl` would send to a cluster.
fn built(folder: &str) -> String {
    let mut kubectl = Command::new("kubectl");
    kubectl.arg("kustomize").arg(workspace().join("configs/kubernetes").join(folder));
    let output = kubectl.output().expect("kubectl is not installed: run script/bootstrap");
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The documents of a YAML text.
fn documents(yaml: &str) -> Vec<Value> {
    let script = "import json, sys, yaml; json.dump([*yaml.safe_load_all(sys.stdin)], sys.stdout)";
    let mut python = checker("python");
    let mut child = python
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the validator says of a text, for one version.
fn validated(yaml: &str, version: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifests.yaml");
    fs::write(&path, yaml).unwrap();
    let mut validator = checker("kubernetes-validate");
    let output = validator.args(["--strict", "-k", version]).arg(path).output().unwrap();
    (output.status.success(), said(&output))
}

/// The manifests of both folders, by what they describe.
struct Cluster(Vec<Value>);

impl Cluster {
    fn read() -> Self {
        Self(["", "monitoring"].into_iter().flat_map(|it| documents(&built(it))).collect())
    }

    fn of(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |it| it["kind"] == kind)
    }

    fn one(&self, kind: &str, name: &str) -> &Value {
        let is_it = |it: &&Value| it["kind"] == kind && it["metadata"]["name"] == name;
        self.0.iter().find(is_it).unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// The Pods that a selector matches, as templates of Deployments.
    fn pods(&self, selector: &Value) -> Vec<&Value> {
        let templates = self.of("Deployment").map(|it| &it["spec"]["template"]);
        templates.filter(|it| matches(selector, &it["metadata"]["labels"])).collect()
    }

    /// The one Pod that a selector is to match.
    fn pod(&self, who: &Value, selector: &Value) -> &Value {
        let pods = self.pods(selector);
        assert_eq!(pods.len(), 1, "{}: {selector}", who["metadata"]["name"]);
        pods[0]
    }
}

fn matches(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object().unwrap();
    !wanted.is_empty() && wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
}

fn container(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]
}

/// Whether a Pod has a port of this name.
fn has_port(pod: &Value, name: &Value) -> bool {
    container(pod)["ports"].as_array().unwrap().iter().any(|it| it["name"] == *name)
}

/// A variable of a Pod.
fn variable<'a>(pod: &'a Value, name: &str) -> &'a str {
    let mut variables = container(pod)["env"].as_array().unwrap().iter();
    variables.find(|it| it["name"] == name).unwrap()["value"].as_str().unwrap()
}

/// Seconds that are written as `8s`.
fn seconds(text: &str) -> u64 {
    text.trim_end_matches(';').strip_suffix('s').unwrap().parse().unwrap()
}

/// The first argument of a directive of the balancer's configuration.
fn argument<'a>(conf: &'a str, directive: &str) -> &'a str {
    let line = conf.lines().map(str::trim).find(|it| it.starts_with(directive)).unwrap();
    line.split_whitespace().nth(1).unwrap()
}

#[test]
fn manifests_follow_the_schemas_of_old_and_new_clusters() {
    let manifests = built("");
    for version in VERSIONS {
        let (is_valid, text) = validated(&manifests, version);
        // A kind that is not known is only warned of.
        assert!(is_valid && !text.contains("WARN"), "{version}: {text}");
        let typo = manifests.replace("readOnlyRootFilesystem", "readonlyRootFilesystem");
        let (is_valid, text) = validated(&typo, version);
        assert!(!is_valid && text.contains("'readonlyRootFilesystem' was unexpected"), "{text}");
    }
}

#[test]
fn selectors_and_ports_lead_somewhere() {
    let cluster = Cluster::read();
    for it in cluster.of("Deployment") {
        cluster.pod(it, &it["spec"]["selector"]["matchLabels"]);
        for spread in
            it["spec"]["template"]["spec"]["topologySpreadConstraints"].as_array().unwrap()
        {
            cluster.pod(it, &spread["labelSelector"]["matchLabels"]);
        }
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let probe = &container(&it["spec"]["template"])[probe];
            let port = ["httpGet", "tcpSocket"].iter().find_map(|it| probe.get(it)).unwrap();
            assert!(has_port(&it["spec"]["template"], &port["port"]), "{probe}");
        }
    }
    for it in cluster.of("Service") {
        let pod = cluster.pod(it, &it["spec"]["selector"]);
        for port in it["spec"]["ports"].as_array().unwrap() {
            assert!(has_port(pod, &port["targetPort"]), "{it}");
        }
    }
    for it in cluster.of("PodDisruptionBudget") {
        cluster.pod(it, &it["spec"]["selector"]["matchLabels"]);
    }
    for it in cluster.of("NetworkPolicy") {
        let pod = cluster.pod(it, &it["spec"]["podSelector"]["matchLabels"]);
        for rule in it["spec"]["ingress"].as_array().unwrap() {
            let mut ports = rule["ports"].as_array().unwrap().iter();
            assert!(ports.all(|port| has_port(pod, &port["port"])), "{it}");
            for from in rule["from"].as_array().into_iter().flatten() {
                if let Some(selector) = from.get("podSelector") {
                    cluster.pod(it, &selector["matchLabels"]);
                }
            }
        }
    }
    for it in cluster.of("HorizontalPodAutoscaler") {
        let target = &it["spec"]["scaleTargetRef"];
        let scaled =
            cluster.one(target["kind"].as_str().unwrap(), target["name"].as_str().unwrap());
        // A number here would undo what the autoscaler said at each `kubectl apply`.
        assert_eq!(scaled["spec"].get("replicas"), None);
    }
}

#[test]
fn monitors_find_their_services() {
    let cluster = Cluster::read();
    let mut watched = Vec::new();
    for monitor in cluster.of("ServiceMonitor") {
        let selector = &monitor["spec"]["selector"]["matchLabels"];
        let mut services =
            cluster.of("Service").filter(|it| matches(selector, &it["metadata"]["labels"]));
        let (service, others) = (services.next().unwrap(), services.count());
        assert_eq!(others, 0, "{selector} would have Pods read twice");
        for endpoint in monitor["spec"]["endpoints"].as_array().unwrap() {
            let mut ports = service["spec"]["ports"].as_array().unwrap().iter();
            assert!(ports.any(|it| it["name"] == endpoint["port"]), "{endpoint}");
            assert_eq!(endpoint["path"], "/metrics");
        }
        watched.push(service["metadata"]["name"].clone());
    }
    assert_eq!(watched, ["balancer-admin", "store-replicas"]);
}

#[test]
fn the_balancer_s_file_names_what_the_manifests_make() {
    let cluster = Cluster::read();
    let replicas = cluster.one("Service", "store-replicas");
    assert_eq!(replicas["spec"]["clusterIP"], "None", "one address would hide the replicas");
    let balancer = &cluster.one("Deployment", "balancer")["spec"]["template"];
    let volume = &balancer["spec"]["volumes"][0]["configMap"]["name"];
    let conf = cluster.one("ConfigMap", volume.as_str().unwrap())["data"]["nginx.conf"].clone();
    let conf = conf.as_str().unwrap();
    let namespace = replicas["metadata"]["namespace"].as_str().unwrap();
    let port = &replicas["spec"]["ports"][0]["port"];
    let name = format!("store-replicas.{namespace}.svc.cluster.local:{port}");
    assert_eq!(argument(conf, "server "), name);
    let listens = argument(conf, "listen ").trim_end_matches(';');
    assert_eq!(container(balancer)["ports"][0]["containerPort"].to_string(), listens);
}

#[test]
fn nobody_is_killed_before_it_has_finished() {
    let cluster = Cluster::read();
    let pod = |name| &cluster.one("Deployment", name)["spec"]["template"];
    let grace = |it: &Value| it["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    let conf = fs::read_to_string(workspace().join("configs/kubernetes/nginx.conf")).unwrap();
    let balancer = pod("balancer");
    let pause = container(balancer)["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    assert!(pause + seconds(argument(&conf, "worker_shutdown_timeout")) < grace(balancer));
    let store = pod("store");
    let delay = seconds(variable(store, "STORE_DRAIN_DELAY"));
    assert!(delay + seconds(variable(store, "STORE_DRAIN_TIMEOUT")) < grace(store));
    // Until balancers have asked again, a replica that ends is still sent requests.
    let valid = conf.split(" valid=").nth(1).unwrap().split(' ').next().unwrap();
    assert!(2 * seconds(valid) < delay);
    let most = &cluster.one("HorizontalPodAutoscaler", "store")["spec"]["maxReplicas"];
    assert_eq!(variable(store, "STORE_REPLICAS"), most.to_string());
}

#[test]
fn every_pod_is_what_the_strictest_standard_asks_for() {
    for it in Cluster::read().of("Deployment") {
        let pod = &it["spec"]["template"];
        let (all, own) = (&pod["spec"]["securityContext"], &container(pod)["securityContext"]);
        assert_eq!(all["runAsNonRoot"], true);
        assert_eq!(all["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(own["allowPrivilegeEscalation"], false);
        assert_eq!(own["readOnlyRootFilesystem"], true);
        assert_eq!(own["capabilities"], serde_json::json!({ "drop": ["ALL"] }));
        assert!(container(pod)["resources"]["limits"]["memory"].is_string());
    }
}
