//! Names of the errnos that a failed call may show.
//!
//! More than those that leave the engine: a call fails for many reasons that are no pin's.

macro_rules! names {
    ($($name:ident)*) => {
        /// The name of errno `value` (positive); `E?` for one without a name here.
        pub(crate) const fn name(value: i32) -> &'static str {
            match value { $(libc::$name => stringify!($name),)* _ => "E?" }
        }
    };
}

names! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY
    EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE
    EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENODATA
    ETIME EPROTO EBADMSG EOVERFLOW EBADFD ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT
    EPROTONOSUPPORT EOPNOTSUPP EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ECONNABORTED
    ECONNRESET ENOBUFS EISCONN ENOTCONN ETIMEDOUT ECONNREFUSED EHOSTUNREACH EALREADY EINPROGRESS
    ESTALE EREMOTEIO EDQUOT ECANCELED EOWNERDEAD EHWPOISON
}
