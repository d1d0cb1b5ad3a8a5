//! What JavaScript calls: a number comes back, or an error of Rust as an exception.

use wasm_bindgen::prelude::*;

/// The sum, which has to fit in 32 bits.
#[wasm_bindgen]
pub fn add(a: u32, b: u32) -> Result<u32, JsError> {
    a.checked_add(b).ok_or_else(|| JsError::new(&format!("{a} + {b} is too large")))
}
