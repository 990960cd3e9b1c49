//! The inverse of matrices of a few rows.

/// The inverse by elimination with pivots; `None` if the matrix is singular to rounding or holds no numbers.
pub fn inverse(matrix: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let n = matrix.len();
    let mut rows: Vec<Vec<f64>> = matrix.to_vec();
    for (i, row) in rows.iter_mut().enumerate() {
        row.extend((0..n).map(|j| f64::from(u8::from(i == j))));
    }
    let largest = matrix.iter().flatten().fold(0.0_f64, |most, v| most.max(v.abs()));
    for column in 0..n {
        let pivot =
            (column..n).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))?;
        rows.swap(column, pivot);
        let value = rows[column][column];
        if !value.is_finite() || value.abs() <= 1e-13 * largest {
            return None;
        }
        rows[column].iter_mut().for_each(|v| *v /= value);
        let pivot_row = rows[column].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(i, _)| *i != column) {
            let factor = row[column];
            row.iter_mut().zip(&pivot_row).for_each(|(v, p)| *v -= factor * p);
        }
    }
    Some(rows.into_iter().map(|row| row[n..].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::inverse;

    #[test]
    fn an_inverse_undoes_its_matrix_and_a_singular_one_has_none() {
        let matrix = vec![vec![0.0, 2.0, 1.0], vec![1.0, -1.0, 0.0], vec![3.0, 0.0, 4.0]];
        let inverse_matrix = inverse(&matrix).unwrap();
        let product = |i: usize, j: usize| -> f64 {
            matrix[i].iter().zip(&inverse_matrix).map(|(a, row)| a * row[j]).sum()
        };
        for i in 0..3 {
            for j in 0..3 {
                // Condition number below 20.
                assert!((product(i, j) - f64::from(u8::from(i == j))).abs() < 1e-14);
            }
        }
        assert!(inverse(&[vec![1.0, 2.0], vec![2.0, 4.0]]).is_none());
        assert!(inverse(&[vec![f64::NAN]]).is_none());
    }
}
