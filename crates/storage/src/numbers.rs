//! Which number does each row of a chunk have? Most follow each other, and then only the first is kept.

/// A number that rows are given one after the other.
pub(crate) trait Number: Copy + Ord {
    /// The number `rows` after this one.
    fn plus(self, rows: usize) -> Self;
    /// How many rows after `first` this number comes in a run that begins there.
    fn since(self, first: Self) -> Option<usize>;
}

impl Number for u64 {
    fn plus(self, rows: usize) -> Self {
        self + rows as u64
    }

    fn since(self, first: Self) -> Option<usize> {
        usize::try_from(self.checked_sub(first)?).ok()
    }
}

impl Number for u32 {
    fn plus(self, rows: usize) -> Self {
        // Numbers of rows that are there fit.
        self + rows as u32
    }

    fn since(self, first: Self) -> Option<usize> {
        Some(self.checked_sub(first)? as usize)
    }
}

/// A number for each of some rows, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Numbers<N> {
    /// The first of numbers that follow each other, and how many they are.
    Run(N, usize),
    /// Any others.
    Each(Box<[N]>),
}

impl<N: Number> Numbers<N> {
    /// The numbers of some rows.
    pub(crate) fn of(numbers: Vec<N>) -> Self {
        let first = numbers[0];
        let is_run = (0..)
            .zip(&numbers)
            .all(|(row, &number)| number == first.plus(row));
        if is_run {
            Numbers::Run(first, numbers.len())
        } else {
            Numbers::Each(numbers.into())
        }
    }

    /// Bytes of memory beside its own.
    pub(crate) fn held(&self) -> usize {
        match self {
            Numbers::Run(..) => 0,
            Numbers::Each(numbers) => size_of_val(&**numbers),
        }
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        match self {
            Numbers::Run(_, len) => *len,
            Numbers::Each(numbers) => numbers.len(),
        }
    }

    /// The number of a row.
    #[inline]
    pub(crate) fn at(&self, row: usize) -> N {
        match self {
            Numbers::Run(first, _) => first.plus(row),
            Numbers::Each(numbers) => numbers[row],
        }
    }

    /// All numbers in the order of the rows.
    pub(crate) fn iter(&self) -> impl Iterator<Item = N> + '_ {
        (0..self.len()).map(|row| self.at(row))
    }

    /// The row that has a number, if numbers ascend.
    pub(crate) fn find(&self, number: N) -> Option<usize> {
        match self {
            Numbers::Run(first, len) => number.since(*first).filter(|row| row < len),
            Numbers::Each(numbers) => numbers.binary_search(&number).ok(),
        }
    }

    /// The first number if all follow it.
    pub(crate) fn run(&self) -> Option<N> {
        match self {
            Numbers::Run(first, _) => Some(*first),
            Numbers::Each(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_others_find_the_same() {
        for numbers in [vec![7_u64], vec![7, 8, 9], vec![7, 9, 10, 40]] {
            let kept = Numbers::of(numbers.clone());
            assert_eq!(
                kept.run().is_some(),
                numbers.last().unwrap() - 7 < numbers.len() as u64
            );
            assert_eq!(kept.iter().collect::<Vec<_>>(), numbers);
            for number in 0..50 {
                assert_eq!(kept.find(number), numbers.iter().position(|&have| have == number));
            }
        }
        assert_eq!(
            Numbers::of(vec![3_u32, 2]).run(),
            None,
            "numbers of slots may descend"
        );
    }
}
