//! Who somebody is, and who may use what. Accounts are told apart by their SID as text (`S-1-5-18`).

use super::{Local, check, check_code, own, text, wide};
use std::{
    io,
    os::windows::io::{AsRawHandle, BorrowedHandle, OwnedHandle},
    ptr::{null, null_mut},
};
use windows_sys::Win32::{
    Foundation::HANDLE,
    Security::{
        ACL,
        Authorization::{
            ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW, GetSecurityInfo,
            SDDL_REVISION_1, SE_FILE_OBJECT, SE_OBJECT_TYPE, SetSecurityInfo,
        },
        CheckTokenMembership, CreateWellKnownSid, DACL_SECURITY_INFORMATION, GetSecurityDescriptorDacl,
        GetTokenInformation, OWNER_SECURITY_INFORMATION, PROTECTED_DACL_SECURITY_INFORMATION, PSID,
        SECURITY_ATTRIBUTES, SECURITY_MAX_SID_SIZE, TOKEN_QUERY, TOKEN_USER, TokenUser, WinBuiltinAdministratorsSid,
    },
    System::Threading::{GetCurrentProcess, OpenProcessToken},
};

/// The system itself: services.
pub(crate) const SYSTEM: &str = "S-1-5-18";
/// The group of administrators; it owns what an elevated administrator and the system make.
pub(crate) const ADMINISTRATORS: &str = "S-1-5-32-544";

/// `NT SERVICE\TrustedInstaller`: it owns what Windows itself installs.
pub(crate) const TRUSTED_INSTALLER: &str = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";

/// A security descriptor.
#[derive(Debug)]
pub(crate) struct Descriptor(Local);

impl Descriptor {
    /// From its text (SDDL).
    pub(crate) fn parse(sddl: &str) -> io::Result<Self> {
        let (sddl, mut found) = (wide(sddl), null_mut());
        // SAFETY: the text ends with a zero and outlives the call, which writes one pointer to `found`; the length is
        // not asked for.
        check(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                sddl.as_ptr(),
                SDDL_REVISION_1,
                &raw mut found,
                null_mut(),
            )
        })?;
        Ok(Self(Local(found)))
    }

    /// For a call that makes something; it points at this descriptor.
    pub(crate) fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0.0,
            bInheritHandle: 0,
        }
    }

    /// Puts this descriptor's rights, and none from above, on the open file or directory.
    pub(crate) fn put_on(&self, file: BorrowedHandle<'_>) -> io::Result<()> {
        let (mut present, mut defaulted, mut list) = (0, 0, null_mut::<ACL>());
        // SAFETY: the descriptor is valid while `self` lives; the call writes to the three variables only.
        check(unsafe { GetSecurityDescriptorDacl(self.0.0, &raw mut present, &raw mut list, &raw mut defaulted) })?;
        let what = DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION;
        // SAFETY: the handle is open for the call's time; `list` points into the descriptor, which `self` keeps.
        check_code(unsafe {
            SetSecurityInfo(file.as_raw_handle(), SE_FILE_OBJECT, what, null_mut(), null_mut(), list, null())
        })
    }
}

/// For what only the system and administrators may enter, or where there is neither behind this process, its own user.
/// `inherited` are flags of inheritance: `OICI` for a directory, none for a file.
pub(crate) fn closed(inherited: &str) -> io::Result<Descriptor> {
    let me = current_user()?;
    let mut rights = format!("D:P(A;{inherited};FA;;;SY)(A;{inherited};FA;;;BA)");
    if me != SYSTEM && !is_administrator()? {
        rights.push_str(&format!("(A;{inherited};FA;;;{me})"));
    }
    Descriptor::parse(&rights)
}

/// Refuses a file that somebody else than the system, administrators or this process's own user has made.
pub(crate) fn check_owner(file: BorrowedHandle<'_>) -> io::Result<()> {
    let owner = owner(file, SE_FILE_OBJECT)?;
    if owner == TRUSTED_INSTALLER || is_trusted(&owner, &current_user()?) {
        return Ok(());
    }
    let said = format!(
        "it belongs to {owner}, who is neither the system nor an administrator, and could have written anything: \
         remove it, or take it over as an administrator (takeown /a)"
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, said))
}

/// Who owns the object behind an open handle.
pub(crate) fn owner(object: BorrowedHandle<'_>, kind: SE_OBJECT_TYPE) -> io::Result<String> {
    let (mut owner, mut descriptor): (PSID, _) = (null_mut(), null_mut());
    // SAFETY: the handle is open for the call's time; what is not asked for is null; `owner` points into `descriptor`,
    // which is ours to free.
    check_code(unsafe {
        GetSecurityInfo(
            object.as_raw_handle(),
            kind,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            null_mut(),
            null_mut(),
            null_mut(),
            &raw mut descriptor,
        )
    })?;
    let _descriptor = Local(descriptor);
    // SAFETY: `owner` points into the descriptor, which lives until the end of this function.
    unsafe { sid_text(owner) }
}

/// Whether what `owner` made may be trusted: it is the system's, the administrators', or of this process's own user.
pub(crate) fn is_trusted(owner: &str, me: &str) -> bool {
    [SYSTEM, ADMINISTRATORS, me].contains(&owner)
}

/// Who is to own what this process makes for others to trust: whoever is behind it, as an administrator the group of them.
pub(crate) fn own_owner(me: &str) -> io::Result<&str> {
    Ok(if me != SYSTEM && is_administrator()? { ADMINISTRATORS } else { me })
}

/// The user this process runs as.
pub(crate) fn current_user() -> io::Result<String> {
    let mut token: HANDLE = null_mut();
    // SAFETY: the process's own handle needs no closing; the call writes one handle to `token`.
    check(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) })?;
    // SAFETY: the call just gave this handle to us alone.
    user_of(&unsafe { own(token) }?)
}

/// The user of a token.
pub(crate) fn user_of(token: &OwnedHandle) -> io::Result<String> {
    // Aligned as the structure at its begin; behind that lies the SID it points at.
    let mut buffer = [0_u64; (size_of::<TOKEN_USER>() + SECURITY_MAX_SID_SIZE as usize).div_ceil(8)];
    let mut length = 0;
    // SAFETY: the token is open; the call writes at most the buffer's size.
    check(unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            buffer.as_mut_ptr().cast(),
            size_of_val(&buffer) as u32,
            &raw mut length,
        )
    })?;
    // SAFETY: the call has filled a `TOKEN_USER` in, for which the buffer is large and aligned enough; its SID lies in
    // the same buffer.
    unsafe { sid_text((*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid) }
}

/// Whether this process may do what administrators may: an administrator's process that is not elevated may not.
pub(crate) fn is_administrator() -> io::Result<bool> {
    is_member(null_mut())
}

/// As [`is_administrator`], for an impersonation token.
pub(crate) fn is_administrator_token(token: &OwnedHandle) -> io::Result<bool> {
    is_member(token.as_raw_handle())
}

fn is_member(token: HANDLE) -> io::Result<bool> {
    let mut group = [0_u64; (SECURITY_MAX_SID_SIZE as usize).div_ceil(8)];
    let mut length = size_of_val(&group) as u32;
    // SAFETY: the buffer has room for any SID, and the call is told its size.
    check(unsafe {
        CreateWellKnownSid(WinBuiltinAdministratorsSid, null_mut(), group.as_mut_ptr().cast(), &raw mut length)
    })?;
    let mut member = 0;
    // SAFETY: the token is null (this thread's) or open; the SID was just made; the call writes to `member` only.
    check(unsafe { CheckTokenMembership(token, group.as_mut_ptr().cast(), &raw mut member) })?;
    Ok(member != 0)
}

/// # Safety
/// `sid` points at a SID that outlives the call.
pub(crate) unsafe fn sid_text(sid: PSID) -> io::Result<String> {
    let mut found = null_mut();
    // SAFETY: the caller's promise; the call writes one pointer to `found`, which is ours to free.
    check(unsafe { ConvertSidToStringSidW(sid, &raw mut found) })?;
    let found = Local(found.cast());
    // SAFETY: the call's text ends with a zero and lives until `found` is dropped.
    Ok(unsafe { text(found.0.cast()) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_process_has_a_user_and_descriptors_are_checked() {
        assert!(current_user().unwrap().starts_with("S-1-5-"));
        assert!(Descriptor::parse("D:P(A;;FA;;;SY)").is_ok());
        assert!(Descriptor::parse("D:P(what").is_err());
    }

    #[test]
    fn only_the_system_administrators_and_oneself_are_trusted() {
        let me = "S-1-5-21-1-2-3-1001";
        assert!([SYSTEM, ADMINISTRATORS, me].iter().all(|owner| is_trusted(owner, me)));
        assert!(!is_trusted("S-1-5-21-1-2-3-1002", me));
        assert!(!is_trusted("S-1-5-32-545", me), "the group of all users");
    }
}
