//! The Jobs and pods of all runs as their watches bring them, by run: a look at one need not list.
//!
//! Without this a thousand runs make the API server search all Jobs and pods of their namespaces at
//! every look. What is kept is what looks read, and nothing else of an object: as JSON, which takes a
//! quarter of the memory of the types that can say everything that an object may hold.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    marker::PhantomData,
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Container, Pod, PodSpec, PodTemplateSpec},
};
use kube::{
    Resource, ResourceExt,
    runtime::watcher::{self, Event},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::names::LABEL_RUN;

/// What both watches have brought.
#[derive(Debug, Default)]
pub struct Caches {
    /// Jobs of runs.
    pub jobs: Cache<Job>,
    /// Their pods.
    pub pods: Cache<Pod>,
}

/// A namespace, or all of them.
type Scope = Option<String>;
/// A run's namespace and name.
type Run = (String, String);
/// Objects by name, as JSON.
type Objects = BTreeMap<String, Box<[u8]>>;

/// The objects of one kind, by run.
#[derive(Debug)]
pub struct Cache<K> {
    known: Mutex<Known>,
    kind: PhantomData<fn() -> K>,
}

#[derive(Debug, Default)]
struct Known {
    there: HashMap<Run, Objects>,
    /// What a watch that begins anew has listed so far.
    arriving: HashMap<Scope, HashMap<Run, Objects>>,
    /// Watches that have brought everything there is, and not broken since.
    whole: BTreeSet<Scope>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            kind: PhantomData,
        }
    }
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    /// Takes what a watch brings.
    pub fn take(&self, scope: Option<&str>, event: &watcher::Result<Event<K>>) {
        let scope = scope.map(ToOwned::to_owned);
        let mut known = self.lock();
        match event {
            // After an error a watch goes on where it was, unless it begins anew.
            Ok(Event::Apply(object)) => {
                put(&mut known.there, object);
                known.whole.insert(scope);
            }
            Ok(Event::Delete(object)) => {
                remove(&mut known.there, object);
                known.whole.insert(scope);
            }
            Ok(Event::Init) => {
                known.arriving.insert(scope, HashMap::new());
            }
            Ok(Event::InitApply(object)) => put(known.arriving.entry(scope).or_default(), object),
            Ok(Event::InitDone) => {
                let arrived = known.arriving.remove(&scope).unwrap_or_default();
                let is_within =
                    |namespace: &String| scope.as_ref().is_none_or(|is| is == namespace);
                known
                    .there
                    .retain(|(namespace, _), _| !is_within(namespace));
                known.there.extend(arrived);
                known.whole.insert(scope);
            }
            // Until it goes on, nobody knows what it has missed.
            Err(_) => {
                known.whole.remove(&scope);
            }
        }
    }

    /// The objects of a run; `None` where a watch has not brought everything.
    pub fn of_run(&self, namespace: &str, run: &str) -> Option<Vec<K>> {
        let known = self.lock();
        let is_watched =
            known.whole.contains(&None) || known.whole.contains(&Some(namespace.to_owned()));
        if !is_watched {
            return None;
        }
        let objects = known.there.get(&(namespace.to_owned(), run.to_owned()));
        let objects = objects.into_iter().flat_map(BTreeMap::values);
        // What cannot be read, as never happens, is listed.
        objects
            .map(|object| serde_json::from_slice(object).ok())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> Option<(Run, String)> {
    let run = object.labels().get(LABEL_RUN)?.clone();
    Some(((object.namespace()?, run), object.name_any()))
}

fn put<K>(there: &mut HashMap<Run, Objects>, object: &K)
where
    K: Resource<DynamicType = ()> + Serialize,
{
    if let Some((run, name)) = key(object)
        && let Ok(json) = serde_json::to_vec(object)
    {
        there.entry(run).or_default().insert(name, json.into());
    }
}

fn remove<K: Resource<DynamicType = ()>>(there: &mut HashMap<Run, Objects>, object: &K) {
    if let Some((run, name)) = key(object)
        && let Some(objects) = there.get_mut(&run)
    {
        objects.remove(&name);
        if objects.is_empty() {
            there.remove(&run);
        }
    }
}

/// Leaves of a Job what looks read: its template is the largest part.
pub fn trim_job(job: &mut Job) {
    job.metadata.managed_fields = None;
    if let Some(spec) = &mut job.spec {
        spec.template = PodTemplateSpec::default();
        spec.pod_failure_policy = None;
    }
}

/// Leaves of a pod what looks read: its status, its node, what it may use and claims.
pub fn trim_pod(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = None;
    let Some(spec) = pod.spec.take() else { return };
    let containers = spec.containers.into_iter().map(|container| Container {
        name: container.name,
        resources: container.resources,
        ..Container::default()
    });
    pod.spec = Some(PodSpec {
        containers: containers.collect(),
        node_name: spec.node_name,
        resource_claims: spec.resource_claims,
        ..PodSpec::default()
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(namespace: &str, run: &str, name: &str, version: &str) -> Job {
        serde_json::from_value(json!({"metadata": {"namespace": namespace, "name": name,
            "resourceVersion": version, "labels": {LABEL_RUN: run}}}))
        .unwrap()
    }

    fn named(jobs: Option<Vec<Job>>) -> Option<Vec<String>> {
        let name = |job: &Job| format!("{}@{}", job.name_any(), job.resource_version().unwrap());
        jobs.map(|jobs| jobs.iter().map(name).collect())
    }

    #[test]
    fn nothing_is_known_before_everything_is() {
        let cache = Cache::<Job>::default();
        cache.take(None, &Ok(Event::Init));
        cache.take(None, &Ok(Event::InitApply(job("a", "r", "r-search", "1"))));
        assert!(cache.of_run("a", "r").is_none());
        cache.take(None, &Ok(Event::InitDone));
        assert_eq!(named(cache.of_run("a", "r")).unwrap(), ["r-search@1"]);
        assert!(cache.of_run("b", "r").unwrap().is_empty());
    }

    #[test]
    fn what_changes_and_goes_is_followed() {
        let cache = Cache::<Job>::default();
        cache.take(None, &Ok(Event::Init));
        cache.take(None, &Ok(Event::InitDone));
        for version in ["1", "2"] {
            cache.take(None, &Ok(Event::Apply(job("a", "r", "r-search", version))));
        }
        cache.take(None, &Ok(Event::Apply(job("a", "other", "o-search", "3"))));
        assert_eq!(named(cache.of_run("a", "r")).unwrap(), ["r-search@2"]);
        cache.take(None, &Ok(Event::Delete(job("a", "r", "r-search", "4"))));
        assert!(cache.of_run("a", "r").unwrap().is_empty());
    }

    #[test]
    fn a_watch_that_broke_is_not_believed_until_it_goes_on_or_has_begun_anew() {
        let cache = Cache::<Job>::default();
        for scope in [Some("a"), Some("b")] {
            cache.take(scope, &Ok(Event::Init));
            let namespace = scope.unwrap();
            cache.take(
                scope,
                &Ok(Event::InitApply(job(namespace, "r", "r-search", "1"))),
            );
            cache.take(scope, &Ok(Event::InitDone));
        }
        cache.take(Some("a"), &Err(watcher::Error::NoResourceVersion));
        assert!(cache.of_run("a", "r").is_none());
        assert_eq!(cache.of_run("b", "r").unwrap().len(), 1);
        // It goes on where it was.
        cache.take(Some("a"), &Ok(Event::Apply(job("a", "q", "q-search", "2"))));
        assert_eq!(cache.of_run("a", "r").unwrap().len(), 1);
        // Or it begins anew, and what was deleted in between does not come again.
        cache.take(Some("a"), &Err(watcher::Error::NoResourceVersion));
        cache.take(Some("a"), &Ok(Event::Init));
        cache.take(Some("a"), &Ok(Event::InitDone));
        assert!(cache.of_run("a", "r").unwrap().is_empty());
        assert_eq!(cache.of_run("b", "r").unwrap().len(), 1);
        assert!(cache.of_run("c", "r").is_none(), "nobody watches it");
    }

    #[test]
    fn a_trimmed_object_is_seen_as_the_whole_one_is() {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "annotations": {"a": "b"}},
            "spec": {"nodeName": "n", "volumes": [{"name": "v"}], "resourceClaims": [{"name": "c"}],
                "containers": [{"name": "worker", "env": [{"name": "A"}],
                    "resources": {"limits": {"memory": "1Gi"}}}]},
            "status": {"phase": "Running"}}))
        .unwrap();
        trim_pod(&mut pod);
        let left = serde_json::to_value(&pod).unwrap();
        assert_eq!(
            left,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"nodeName": "n", "resourceClaims": [{"name": "c"}],
                "containers": [{"name": "worker", "resources": {"limits": {"memory": "1Gi"}}}]},
            "status": {"phase": "Running"}})
        );
    }
}
