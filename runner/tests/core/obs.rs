//! Pruning of one module against the plain greedy loop, in float64 on random problems.

use darwinlm_runner::prune::{
    Damped, Hessian, PruneError, build_module, column_order, damp, group_order, kept_units,
    unit_columns,
};
use darwinlm_search::Ladder;
use tch::{Device, Kind, Tensor};

const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);

/// Correlated inputs [tokens, columns], with a near-duplicate pair, and weights [rows, columns].
fn problem(rows: i64, columns: i64, seed: i64) -> (Tensor, Tensor) {
    tch::manual_seed(seed);
    let mix = Tensor::randn([columns, columns], DOUBLE) * 0.3 + Tensor::eye(columns, DOUBLE);
    let x_MN = Tensor::randn([3 * columns, columns], DOUBLE).matmul(&mix);
    let near = x_MN.select(1, 1) + Tensor::randn([3 * columns], DOUBLE) * 1e-3;
    x_MN.select(1, columns - 2).copy_(&near);
    (Tensor::randn([rows, columns], DOUBLE), x_MN)
}

fn hessian(x_MN: &Tensor) -> Tensor {
    x_MN.tr().matmul(x_MN) * (2.0 / 8.0)
}

/// The definition: score every unit, remove the best, update W and H⁻¹ in full, repeat.
fn plain_loop(w_RN: &Tensor, h_NN: &Tensor, width: i64, steps: i64) -> (Vec<u32>, f64, Tensor) {
    let (w, inverse) = (w_RN.copy(), h_NN.inverse());
    let units = h_NN.size()[0] / width;
    let (mut w, mut inverse) = (w, inverse);
    let (mut order, mut total) = (Vec::new(), 0.0);
    for _ in 0..steps {
        let mut best: Option<(f64, i64)> = None;
        for unit in (0..units).filter(|unit| !order.contains(&(*unit as u32))) {
            let w_RG = w.narrow(1, unit * width, width);
            let block_GG = inverse
                .narrow(0, unit * width, width)
                .narrow(1, unit * width, width);
            let score = w_RG
                .matmul(&block_GG.inverse())
                .multiply(&w_RG)
                .sum(Kind::Double);
            let score = score.double_value(&[]);
            if best.is_none_or(|(least, _)| score < least) {
                best = Some((score, unit));
            }
        }
        let (score, unit) = best.unwrap();
        let columns_NG = inverse.narrow(1, unit * width, width).copy();
        let block_GG = columns_NG.narrow(0, unit * width, width).inverse();
        let w_RG = w.narrow(1, unit * width, width).copy();
        w = &w - w_RG.matmul(&block_GG).matmul(&columns_NG.tr());
        inverse = &inverse - columns_NG.matmul(&block_GG).matmul(&columns_NG.tr());
        order.push(unit as u32);
        total += score;
        for &gone in &order {
            let _ = w.narrow(1, i64::from(gone) * width, width).zero_();
        }
    }
    (order, total, w)
}

fn expand(level_RS: &Tensor, kept: &[u32], width: u32, columns: i64) -> Tensor {
    let whole = Tensor::zeros([level_RS.size()[0], columns], DOUBLE);
    whole.index_copy(1, &Tensor::from_slice(&unit_columns(kept, width)), level_RS)
}

fn error_of(w_RN: &Tensor, other_RN: &Tensor, h_NN: &Tensor) -> f64 {
    let change = w_RN - other_RN;
    change
        .matmul(h_NN)
        .multiply(&change)
        .sum(Kind::Double)
        .double_value(&[])
}

fn largest(difference: &Tensor) -> f64 {
    difference.abs().max().double_value(&[])
}

#[test]
fn the_blocked_order_of_columns_is_the_plain_loops_order() {
    // 150 columns are more than two blocks of the blocked method
    for (rows, columns, seed) in [(12, 20, 0), (40, 64, 1), (30, 65, 2), (48, 150, 3)] {
        let (w, x) = problem(rows, columns, seed);
        let Damped {
            hessian_NN,
            weight_RN,
            ..
        } = damp(&w, &hessian(&x), 10).unwrap();
        let (order, scores) = column_order(&weight_RN, &hessian_NN).unwrap();
        let (expected, total, _) = plain_loop(&weight_RN, &hessian_NN, 1, columns);
        assert_eq!(order, expected, "{columns} columns");
        let sum: f64 = scores.iter().sum();
        assert!((sum - total).abs() / total < 1e-9, "{sum} {total}");
    }
}

#[test]
fn the_order_of_heads_is_the_plain_loops_order() {
    for (heads, width, seed) in [(6, 8, 4), (9, 4, 5)] {
        let (w, x) = problem(32, heads * width, seed);
        let Damped {
            hessian_NN,
            weight_RN,
            ..
        } = damp(&w, &hessian(&x), 10).unwrap();
        let (order, scores) = group_order(&weight_RN, &hessian_NN, width).unwrap();
        let (expected, total, _) = plain_loop(&weight_RN, &hessian_NN, width, heads);
        assert_eq!(order, expected);
        let sum: f64 = scores.iter().sum();
        assert!((sum - total).abs() / total < 1e-9, "{sum} {total}");
    }
}

#[test]
fn units_of_one_column_are_ordered_like_columns() {
    let (w, x) = problem(24, 70, 6);
    let Damped {
        hessian_NN,
        weight_RN,
        ..
    } = damp(&w, &hessian(&x), 10).unwrap();
    let (columns, _) = column_order(&weight_RN, &hessian_NN).unwrap();
    let (groups, _) = group_order(&weight_RN, &hessian_NN, 1).unwrap();
    assert_eq!(columns, groups);
}

#[test]
fn every_level_is_the_least_squares_refit_and_its_error_the_sum_of_scores() {
    for (width, ladder) in [(1u32, vec![48, 40, 20, 7, 0]), (8, vec![6, 5, 3, 1, 0])] {
        let (w, x) = problem(30, 48, 8);
        let h = hessian(&x);
        let Damped {
            hessian_NN,
            weight_RN,
            damping,
        } = damp(&w, &h, 10).unwrap();
        let ladder = Ladder::new(ladder).unwrap();
        let built = build_module(&w, &h, width, &ladder, 10).unwrap();
        let norm = error_of(&weight_RN, &weight_RN.zeros_like(), &hessian_NN);
        assert_eq!(built.errors[0], 0.0);
        assert!((built.errors[4] - norm).abs() / norm < 1e-9);
        for (index, level) in built.levels.iter().enumerate() {
            let units_kept = ladder.as_slice()[index + 1];
            let steps = i64::from(ladder.units() - units_kept);
            let (order, total, plain) =
                plain_loop(&weight_RN, &hessian_NN, i64::from(width), steps);
            assert_eq!(built.order[..steps as usize], order);
            let own = expand(&level.weight_RS, &level.kept, width, 48);
            assert!(largest(&(&own - &plain)) < 1e-9);
            // the closed form
            let kept = Tensor::from_slice(&unit_columns(&level.kept, width));
            let cross = weight_RN.matmul(&hessian_NN.index_select(1, &kept));
            let inner = hessian_NN.index_select(0, &kept).index_select(1, &kept);
            assert!(largest(&(&level.weight_RS - cross.matmul(&inner.inverse()))) < 1e-9);
            // three ways to the error: scores, damped Hessian, outputs plus damping
            let error = built.errors[index + 1];
            assert!((error - total).abs() / total < 1e-9);
            assert!((error - error_of(&weight_RN, &own, &hessian_NN)).abs() / error < 1e-9);
            let change = &weight_RN - &own;
            let outputs = x
                .matmul(&change.tr())
                .square()
                .sum(Kind::Double)
                .double_value(&[])
                / 8.0;
            let mean = h.diagonal(0, 0, 1).mean(Kind::Double).double_value(&[]);
            let added = damping.permille as f64 / 1000.0 * mean;
            let squared = change.square().sum(Kind::Double).double_value(&[]);
            let halves = outputs + 0.5 * added * squared;
            assert!((error / 2.0 - halves).abs() / halves < 1e-9);
        }
    }
}

#[test]
fn errors_rise_and_removed_sets_are_nested() {
    let (w, x) = problem(20, 40, 9);
    let ladder = Ladder::spaced(40, 10, 1).unwrap();
    let built = build_module(&w, &hessian(&x), 1, &ladder, 10).unwrap();
    assert!(built.errors.is_sorted());
    for pair in built.levels.windows(2) {
        assert!(pair[1].kept.iter().all(|unit| pair[0].kept.contains(unit)));
    }
    let mut all = built.order.clone();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<u32>>());
    assert_eq!(kept_units(&built.order, 3).len(), 3);
}

#[test]
fn neither_the_scale_of_the_hessian_nor_the_order_of_sequences_matters() {
    let (w, x) = problem(20, 40, 10);
    let h = hessian(&x);
    let ladder = Ladder::spaced(40, 5, 1).unwrap();
    let built = build_module(&w, &h, 1, &ladder, 10).unwrap();
    let scaled = build_module(&w, &(&h * 4096.0), 1, &ladder, 10).unwrap();
    assert_eq!(built.order, scaled.order);
    let shuffled = x.index_select(0, &Tensor::randperm(120, (Kind::Int64, Device::Cpu)));
    let shuffled = build_module(&w, &hessian(&shuffled), 1, &ladder, 10).unwrap();
    assert_eq!(built.order, shuffled.order);
    for (one, other) in built.levels.iter().zip(&shuffled.levels) {
        assert!(largest(&(&one.weight_RS - &other.weight_RS)) < 1e-9);
    }
}

#[test]
fn a_hessian_of_shards_is_the_hessian_of_the_whole() {
    let (_, x) = problem(4, 12, 11);
    let x_BTN = x.view([6, 6, 12]);
    let collect = |batch: i64| {
        let mut hessian = Hessian::new(12, Device::Cpu).unwrap();
        for start in (0..6).step_by(batch as usize) {
            hessian.add(&x_BTN.narrow(0, start, batch)).unwrap();
        }
        hessian.finish().unwrap()
    };
    let whole = x.tr().matmul(&x).to_kind(Kind::Float) * (2.0 / 6.0);
    for batch in [1, 2, 6] {
        assert!(largest(&(collect(batch) - &whole)) / largest(&whole) < 1e-6);
    }
}

#[test]
fn orthonormal_inputs_give_pure_magnitude_pruning() {
    tch::manual_seed(12);
    let w = Tensor::randn([10, 16], DOUBLE);
    let ladder = Ladder::new(vec![16, 8, 0]).unwrap();
    let built = build_module(&w, &Tensor::eye(16, DOUBLE), 1, &ladder, 10).unwrap();
    let norms = w
        .square()
        .sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
    let by_norm: Vec<i64> = Vec::try_from(norms.argsort(0, false)).unwrap();
    assert_eq!(
        built.order,
        by_norm.iter().map(|&at| at as u32).collect::<Vec<_>>()
    );
    let kept = Tensor::from_slice(&unit_columns(&built.levels[0].kept, 1));
    assert!(largest(&(&built.levels[0].weight_RS - w.index_select(1, &kept))) < 1e-12);
}

#[test]
fn a_duplicated_input_hands_its_weight_to_its_twin_at_no_cost() {
    tch::manual_seed(13);
    // otherwise independent inputs: only the twin can take over
    let (w, x) = (
        Tensor::randn([10, 16], DOUBLE),
        Tensor::randn([400, 16], DOUBLE),
    );
    x.select(1, 14).copy_(&x.select(1, 1));
    let ladder = Ladder::new(vec![16, 15, 0]).unwrap();
    let built = build_module(&w, &hessian(&x), 1, &ladder, 1).unwrap();
    let removed = built.order[0];
    assert!(removed == 1 || removed == 14);
    let twin = 15 - removed;
    let place = built.levels[0]
        .kept
        .iter()
        .position(|&unit| unit == twin)
        .unwrap();
    let sum = w.select(1, 1) + w.select(1, 14);
    let column = built.levels[0].weight_RS.select(1, place as i64);
    assert!(largest(&(column - &sum)) < 0.01 * largest(&sum));
    assert!(built.errors[1] < 1e-2 * built.errors[2]);
}

#[test]
fn a_dead_input_goes_first_and_costs_nothing() {
    let (w, x) = problem(10, 16, 14);
    let _ = x.select(1, 5).zero_();
    let ladder = Ladder::new(vec![16, 15, 0]).unwrap();
    let built = build_module(&w, &hessian(&x), 1, &ladder, 10).unwrap();
    assert_eq!((built.order[0], built.damping.dead_columns), (5, 1));
    assert_eq!(built.errors[1], 0.0);
}

#[test]
fn the_update_beats_leaving_the_weights_as_they_are() {
    let (w, x) = problem(20, 40, 15);
    let h = hessian(&x);
    let built = build_module(&w, &h, 1, &Ladder::new(vec![40, 20, 0]).unwrap(), 10).unwrap();
    let kept = unit_columns(&built.levels[0].kept, 1);
    let untouched = expand(
        &w.index_select(1, &Tensor::from_slice(&kept)),
        &built.levels[0].kept,
        1,
        40,
    );
    let updated = expand(&built.levels[0].weight_RS, &built.levels[0].kept, 1, 40);
    let loss = |other: &Tensor| error_of(&w, other, &h);
    assert!(loss(&updated) < 0.9 * loss(&untouched));
}

#[test]
fn damping_is_doubled_and_recorded_until_the_factorisation_succeeds() {
    tch::manual_seed(16);
    let w = Tensor::randn([4, 6], DOUBLE);
    let h = Tensor::eye(6, DOUBLE);
    // an eigenvalue of -0.05 against a mean diagonal of 1: 10 permille do not do, 80 do
    let off = Tensor::zeros([6, 6], DOUBLE);
    let _ = off.get(0).get(1).fill_(1.05);
    let _ = off.get(1).get(0).fill_(1.05);
    let damped = damp(&w, &(h + off), 10).unwrap();
    assert_eq!((damped.damping.permille, damped.damping.doublings), (80, 3));
}

#[test]
fn an_infinite_hessian_is_refused() {
    let h = Tensor::full([4, 4], f64::INFINITY, DOUBLE);
    let error = damp(&Tensor::ones([2, 4], DOUBLE), &h, 10).unwrap_err();
    assert!(matches!(error, PruneError::NonFiniteHessian));
}
