//! Three C and C++ libraries that build scripts compile from source, each really used.

use std::ffi::CStr;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = "the quick brown fox ".repeat(1000);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let packed = zstd::encode_all(text.as_bytes(), 3)?;
    assert_eq!(zstd::decode_all(packed.as_slice())?, text.as_bytes());

    // SAFETY: the library returns a pointer to a static, zero-terminated string.
    let sqlite = unsafe { CStr::from_ptr(libsqlite3_sys::sqlite3_libversion()) };
    let mut database = std::ptr::null_mut();
    // SAFETY: the name is zero-terminated, and the handle is closed once, right after it was opened.
    unsafe {
        libsqlite3_sys::sqlite3_open(c":memory:".as_ptr(), &mut database);
        libsqlite3_sys::sqlite3_close(database);
    }
    println!("{digest:?} {} {}", packed.len(), sqlite.to_str()?);
    Ok(())
}
