//! Privileges: who serves, and what the thread that no request reaches keeps.
//!
//! nginx's workers run as `user`, its master process stays root. Here the whole process becomes
//! `user`. The main thread, which reads configurations and signals and never sees a request, keeps
//! the capabilities that a master process needs to reload, reopen logs, remove files and hand over.

use std::io;
use std::sync::{Arc, mpsc};

use nix::unistd::{Gid, Group, Uid, geteuid, getgrouplist, initgroups, setgid, setuid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use tokio::runtime::Handle;

use crate::conf::error::os_text;

/// Whether this is root, or was and may be again: the main thread of a process that serves as
/// another user.
pub(crate) fn is_master() -> bool {
    let may = || Some(capabilities(None).ok()?.effective.contains(CapabilitySet::SETUID));
    geteuid().is_root() || may().unwrap_or_default()
}

/// Who the program becomes once it has bound its addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Name of the user.
    pub name: String,
    /// Its number.
    pub uid: Uid,
    /// Number of the group.
    pub gid: Gid,
}

impl User {
    /// Looks a user and a group up. An error is nginx's text.
    ///
    /// Source: nginx `nginx.c`, `ngx_set_user`.
    pub(crate) fn find(name: &str, group: &str) -> Result<Self, String> {
        let uid = nix::unistd::User::from_name(name).ok().flatten();
        let uid = uid.ok_or_else(|| format!("getpwnam(\"{name}\") failed"))?.uid;
        let gid = Group::from_name(group).ok().flatten();
        let gid = gid.ok_or_else(|| format!("getgrnam(\"{group}\") failed"))?.gid;
        Ok(Self { name: name.to_owned(), uid, gid })
    }

    /// Who serves where root starts the program and `user` says nothing.
    pub fn nobody() -> Result<Self, String> {
        Self::find("nobody", "nobody").or_else(|_| Self::find("nobody", "nogroup"))
    }
}

/// What a reload, a rotation of logs and a successor need.
const KEPT: CapabilitySet = CapabilitySet::NET_BIND_SERVICE
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SYS_RESOURCE);

/// Becomes a user, with every thread of the process. An error is nginx's text.
///
/// To be called by the main thread when all others have been started: they keep nothing.
pub(crate) fn change(user: &User) -> Result<(), String> {
    let failed = |call: String, error: io::Error| format!("{call} failed {}", os_text(&error));
    set_keep_capabilities(true).map_err(|it| failed("prctl(PR_SET_KEEPCAPS)".into(), it.into()))?;
    let name = std::ffi::CString::new(user.name.as_str())
        .map_err(|it| failed(format!("initgroups({})", user.name), it.into()))?;
    setgid(user.gid).map_err(|it| failed(format!("setgid({})", user.gid), it.into()))?;
    initgroups(&name, user.gid)
        .map_err(|it| failed(format!("initgroups({}, {})", user.name, user.gid), it.into()))?;
    setuid(user.uid).map_err(|it| failed(format!("setuid({})", user.uid), it.into()))?;
    keep().map_err(|it| failed("capset()".into(), it))?;
    // The change forbids core files, and to look at our own descriptors.
    set_dumpable_behavior(DumpableBehavior::Dumpable)
        .map_err(|it| failed("prctl(PR_SET_DUMPABLE)".into(), it.into()))
}

fn keep() -> io::Result<()> {
    // A container may have withheld some.
    let has = capabilities(None)?.permitted;
    let kept = KEPT & has;
    let inheritable = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?)
}

/// What is told where root's rights cannot be had again.
pub(crate) fn cannot(error: &io::Error) -> String {
    format!("setuid(0) failed {}", os_text(error))
}

/// Does something as root, in this thread, as a program that takes over has to be started.
pub(crate) fn as_root<T>(user: Option<&User>, act: impl FnOnce() -> T) -> io::Result<T> {
    as_root_then(user, user, act)
}

/// As [`as_root`], and is another user afterwards.
pub(crate) fn as_root_then<T>(
    user: Option<&User>,
    next: Option<&User>,
    act: impl FnOnce() -> T,
) -> io::Result<T> {
    if user.is_some() {
        let (root_user, root_group) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
        set_thread_res_gid(root_group, root_group, root_group)?;
        set_thread_res_uid(root_user, root_user, root_user)?;
    }
    let acted = act();
    if let Some(next) = next {
        set_keep_capabilities(true)?;
        become_user(next, &groups_of(next)?)?;
        keep()?;
    }
    Ok(acted)
}

/// Has threads that root has just started become a user, who keeps nothing. An error is nginx's
/// text.
pub(crate) fn change_threads(user: &User, threads: &[Handle]) -> Result<(), String> {
    let failed = |error: io::Error| format!("setuid({}) failed {}", user.uid, os_text(&error));
    let groups = Arc::new(groups_of(user).map_err(failed)?);
    let (done, all_done) = mpsc::channel();
    for thread in threads {
        let (user, groups, done) = (user.clone(), Arc::clone(&groups), done.clone());
        thread.spawn(async move {
            let changed = set_keep_capabilities(false).map_err(io::Error::from);
            let changed = changed.and_then(|()| become_user(&user, &groups));
            let none = CapabilitySet::empty();
            let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
            let changed = changed.and_then(|()| Ok(set_capabilities(None, none)?));
            // Nobody listens only when another thread has failed.
            let _ = done.send(changed);
        });
    }
    drop(done);
    all_done.iter().try_for_each(|it| it.map_err(failed))
}

/// Changes this thread alone.
fn become_user(user: &User, groups: &[rustix::process::Gid]) -> io::Result<()> {
    let uid = rustix::process::Uid::from_raw(user.uid.as_raw());
    let gid = rustix::process::Gid::from_raw(user.gid.as_raw());
    set_thread_groups(groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

fn groups_of(user: &User) -> io::Result<Vec<rustix::process::Gid>> {
    let name = std::ffi::CString::new(user.name.as_str())?;
    let groups = getgrouplist(&name, user.gid)?;
    Ok(groups.into_iter().map(|it| rustix::process::Gid::from_raw(it.as_raw())).collect())
}
