//! Choices that a seed gives again.

/// xorshift64 (Marsaglia, 2003): the same seed, the same choices.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The choices of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The `number`th series of a seed: each can be had without those before it.
    pub fn nth(seed: u64, number: u32) -> Self {
        let mut random = Self::new(seed.rotate_left(32) ^ (u64::from(number) << 1 | 1));
        // The first numbers of neighboring seeds are alike.
        for _ in 0..8 {
            random.below(2);
        }
        random
    }

    /// One of the numbers below `n`; 0 where there is none.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % n.max(1)
    }

    /// One of some things.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        all.get(self.below(all.len())).copied()
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// A share of a whole.
    pub fn share(&mut self) -> f64 {
        f64::from(u32::try_from(self.below(1001)).unwrap_or(0)) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_series_again_and_each_number_another() {
        let series = |seed, number| {
            let mut random = Random::nth(seed, number);
            (0..8).map(|_| random.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(series(1, 7), series(1, 7));
        assert_ne!(series(1, 7), series(1, 8));
        assert_ne!(series(1, 7), series(2, 7));
    }
}
