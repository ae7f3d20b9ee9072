//! Every op gives on the stand-in what it gives on the CPU.
#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use tch::{Device, Kind, Reduction, Tensor};

const CUDA: Device = Device::Cuda(0);

fn float(seed: i64, size: &[i64]) -> Tensor {
    let n: i64 = size.iter().product();
    // Drawn by arithmetic, so that both devices start from one set of values.
    ((Tensor::arange(n, (Kind::Double, Device::Cpu)) * 12.9898 + seed as f64).sin() * 43758.5453)
        .frac()
        .to_kind(Kind::Float)
        .view(size)
}

fn close(a: &Tensor, b: &Tensor, tolerance: f64) -> Result<(), String> {
    if a.size() != b.size() || a.kind() != b.kind() {
        return Err(format!("{a:?} against {b:?}"));
    }
    if a.numel() == 0 {
        return Ok(());
    }
    let worst = (a.to_kind(Kind::Double) - b.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[]);
    if worst <= tolerance {
        Ok(())
    } else {
        Err(format!("differs by {worst:e}"))
    }
}

type Op = fn(&dyn Fn(&[i64], i64) -> Tensor, Device) -> Vec<Tensor>;

fn cases() -> Vec<(&'static str, Op)> {
    vec![
        ("factories", |_, d| {
            vec![
                Tensor::zeros([2, 3], (Kind::Float, d)),
                Tensor::ones([2], (Kind::BFloat16, d)),
                Tensor::full([2, 2], 7.5, (Kind::Double, d)),
                Tensor::arange(5, (Kind::Int64, d)),
                Tensor::eye(3, (Kind::Float, d)),
                Tensor::linspace(0.0, 1.0, 5, (Kind::Float, d)),
                Tensor::scalar_tensor(2.0, (Kind::Float, d)),
                Tensor::tril_indices(3, 3, 0, (Kind::Int64, d)),
                Tensor::zeros([2, 2], (Kind::Float, d)).ones_like(),
                Tensor::zeros([0, 4], (Kind::Float, d)),
            ]
        }),
        ("matmul", |t, _| {
            vec![
                t(&[5, 7], 1).matmul(&t(&[7, 3], 2)),
                t(&[2, 5, 7], 3).matmul(&t(&[2, 7, 3], 4)),
                t(&[2, 3, 5, 7], 3).matmul(&t(&[7, 3], 4)),
                t(&[7], 1).dot(&t(&[7], 2)),
                t(&[5, 7], 1).mv(&t(&[7], 2)),
            ]
        }),
        ("linear", |t, _| {
            vec![
                t(&[2, 5, 7], 1).linear(&t(&[3, 7], 2), Some(t(&[3], 3))),
                t(&[5, 7], 1).linear(&t(&[3, 7], 2), None::<Tensor>),
                t(&[4, 3], 1).addmm(&t(&[4, 5], 2), &t(&[5, 3], 3)),
            ]
        }),
        ("baddbmm einsum", |t, _| {
            vec![
                t(&[2, 4, 3], 1).baddbmm(&t(&[2, 4, 5], 2), &t(&[2, 5, 3], 3), 1.0, 1.0),
                Tensor::einsum(
                    "bij,bkj->bik",
                    &[t(&[2, 4, 3], 1), t(&[2, 5, 3], 2)],
                    None::<i64>,
                ),
            ]
        }),
        ("embedding", |t, d| {
            let ids = Tensor::from_slice(&[1i64, 0, 3, 1]).to_device(d);
            vec![Tensor::embedding(&t(&[4, 6], 1), &ids, -1, false, false)]
        }),
        ("norms", |t, _| {
            let x = t(&[3, 8], 1);
            let rms =
                &x * (x.square().mean_dim([-1i64].as_slice(), true, Kind::Float) + 1e-6).rsqrt();
            vec![
                rms,
                x.layer_norm([8], Some(t(&[8], 2)), Some(t(&[8], 3)), 1e-5, false),
                x.group_norm(2, None::<Tensor>, None::<Tensor>, 1e-5, false),
                x.internal_fused_rms_norm([8], Some(t(&[8], 2)), 1e-6).0,
            ]
        }),
        ("softmax", |t, _| {
            vec![
                t(&[3, 5], 1).softmax(-1, Kind::Float),
                t(&[3, 5], 1).log_softmax(-1, Kind::Float),
                t(&[3, 5], 1).logsumexp([-1i64].as_slice(), false),
            ]
        }),
        ("softmax from half", |t, _| {
            vec![
                t(&[3, 5], 1).to_kind(Kind::Half).softmax(-1, Kind::Float),
                t(&[3, 5], 1)
                    .to_kind(Kind::BFloat16)
                    .softmax(-1, Kind::Float),
                t(&[3, 5], 1)
                    .to_kind(Kind::BFloat16)
                    .log_softmax(-1, Kind::Float),
                t(&[3, 5], 1)
                    .to_kind(Kind::Half)
                    .log_softmax(-1, Kind::Float),
            ]
        }),
        ("activations", |t, _| {
            vec![
                t(&[9], 1).silu(),
                t(&[9], 1).gelu("tanh"),
                t(&[9], 1).gelu("none"),
                t(&[9], 1).relu(),
                t(&[9], 1).sigmoid(),
                t(&[9], 1).tanh(),
                t(&[9], 1).softplus(),
            ]
        }),
        ("rotary", |t, d| {
            let q = t(&[1, 2, 6, 8], 1);
            let inv =
                (Tensor::arange_start_step(0, 8, 2, (Kind::Float, d)) / 8.0 * -(1e4f64.ln())).exp();
            let angle = Tensor::arange(6, (Kind::Float, d)).outer(&inv);
            let angle = Tensor::cat(&[&angle, &angle], -1);
            let (a, b) = (q.narrow(-1, 0, 4), q.narrow(-1, 4, 4));
            vec![&q * angle.cos() + Tensor::cat(&[-b, a], -1) * angle.sin()]
        }),
        ("attention", |t, _| {
            let (q, k, v) = (
                t(&[1, 2, 6, 8], 1),
                t(&[1, 2, 6, 8], 2),
                t(&[1, 2, 6, 8], 3),
            );
            let mask = t(&[6, 6], 4);
            vec![
                Tensor::scaled_dot_product_attention(
                    &q,
                    &k,
                    &v,
                    None::<Tensor>,
                    0.0,
                    true,
                    None,
                    false,
                ),
                Tensor::scaled_dot_product_attention(
                    &q,
                    &k,
                    &v,
                    Some(&mask),
                    0.0,
                    false,
                    None,
                    false,
                ),
                Tensor::scaled_dot_product_attention(
                    &q,
                    &k,
                    &v,
                    Some(&mask.gt(-10.0)),
                    0.0,
                    false,
                    Some(0.3),
                    false,
                ),
            ]
        }),
        ("attention gqa", |t, _| {
            let (q, k, v) = (
                t(&[2, 4, 6, 8], 1),
                t(&[2, 2, 6, 8], 2),
                t(&[2, 2, 6, 8], 3),
            );
            vec![Tensor::scaled_dot_product_attention(
                &q,
                &k,
                &v,
                None::<Tensor>,
                0.0,
                true,
                None,
                true,
            )]
        }),
        ("losses", |t, d| {
            let y = Tensor::from_slice(&[1i64, 0, -100, 4]).to_device(d);
            let x = t(&[4, 5], 1);
            vec![
                x.cross_entropy_loss(&y, None::<Tensor>, Reduction::Mean, -100, 0.0),
                x.cross_entropy_loss(&y, None::<Tensor>, Reduction::None, -100, 0.1),
                x.log_softmax(-1, Kind::Float).kl_div(
                    &t(&[4, 5], 2).softmax(-1, Kind::Float),
                    Reduction::Sum,
                    false,
                ),
                x.mse_loss(&t(&[4, 5], 2), Reduction::Mean),
                x.smooth_l1_loss(&t(&[4, 5], 2), Reduction::Mean, 1.0),
            ]
        }),
        ("cholesky", |t, d| {
            let a = t(&[6, 6], 1).to_kind(Kind::Double);
            let h = a.matmul(&a.tr()) + Tensor::eye(6, (Kind::Double, d));
            let l = h.linalg_cholesky(false);
            let b = t(&[6, 2], 2).to_kind(Kind::Double);
            vec![
                l.shallow_clone(),
                l.linalg_solve_triangular(&b, false, true, false),
                b.cholesky_solve(&l, false),
                l.cholesky_inverse(false),
                h.linalg_cholesky_ex(false, false).0,
                h.inverse(),
                Tensor::linalg_solve(&h, &b, true),
                b.triangular_solve(&l, false, false, false).0,
                h.logdet(),
                h.linalg_eigvalsh("L"),
            ]
        }),
        ("factorizations", |t, d| {
            let a = t(&[6, 6], 1).to_kind(Kind::Double);
            let h = a.matmul(&a.tr()) + Tensor::eye(6, (Kind::Double, d));
            let (w, v) = h.linalg_eigh("L");
            let (u, s, v1) = a.svd(true, true);
            let (q, r) = Tensor::linalg_qr(&a, "reduced");
            vec![
                (&v * &w).matmul(&v.tr()),
                (&u * &s).matmul(&v1.tr()),
                q.matmul(&r),
            ]
        }),
        ("indexing", |t, d| {
            let x = t(&[5, 4], 1);
            let i = Tensor::from_slice(&[2i64, 0, 2]).to_device(d);
            let j = Tensor::from_slice(&[0i64, 1, 2, 3, 3, 2, 1, 0, 0, 0])
                .view([5, 2])
                .to_device(d);
            vec![
                x.index_select(0, &i),
                x.gather(1, &j, false),
                x.index(&[Some(&i)]),
                x.index(&[None, Some(&i)]),
                x.index(&[Some(x.select(1, 0).gt(0.0))]),
                x.masked_select(&x.gt(0.0)),
                x.masked_fill(&x.gt(0.0), -1.0),
                x.gt(0.0).nonzero(),
                x.take(&i),
                x.where_self(&x.gt(0.0), &x.zeros_like()),
                x.scatter_add(1, &j, &x),
                x.scatter(1, &j, &x.ones_like()),
                x.index_add(0, &i, &t(&[3, 4], 2)),
                x.index_fill(0, &i, 3.0),
                x.index_copy(0, &i, &t(&[3, 4], 2)),
                x.take_along_dim(&j, 1),
            ]
        }),
        ("index_put", |t, d| {
            let i = Tensor::from_slice(&[2i64, 0]).to_device(d);
            let mut a = t(&[5, 4], 1);
            let _ = a.index_put_(&[Some(&i)], &t(&[2, 4], 2), false);
            let mut b = t(&[5, 4], 1);
            let m = b.gt(0.0);
            let _ = b.index_put_(&[Some(&m)], &Tensor::from(0.5f32).to_device(d), false);
            let mut c = t(&[5, 4], 1);
            let _ = c.index_put_(&[Some(&i)], &t(&[2, 4], 2), true);
            vec![a, b, c]
        }),
        ("order", |t, _| {
            let x = t(&[5, 9], 1);
            let (v, i) = x.topk(3, -1, true, true);
            let (s, j) = x.sort(-1, true);
            vec![
                v,
                i,
                s,
                j,
                x.argmin(-1, false),
                x.argmax(None, false),
                x.max(),
                x.min(),
                x.max_dim(1, true).0,
                x.median(),
                x.kthvalue(2, 1, false).0,
                x.cummax(1).0,
                x.msort(),
                x.argsort(1, false),
                x.amax([1i64].as_slice(), false),
                x.quantile_scalar(0.3, 1, false, "linear"),
                x.searchsorted(&x, false, false, "left", None::<Tensor>),
            ]
        }),
        ("reductions", |t, _| {
            let x = t(&[5, 9], 1);
            vec![
                x.sum(Kind::Float),
                x.mean(Kind::Float),
                x.sum_dim_intlist([0i64].as_slice(), false, Kind::Double),
                x.std(true),
                x.var_dim([1i64].as_slice(), true, false),
                x.norm(),
                x.cumsum(1, Kind::Float),
                x.prod(Kind::Float),
                x.gt(0.0).any(),
                x.gt(-9.0).all(),
                x.logcumsumexp(1),
                x.linalg_norm(2.0, None::<&[i64]>, false, Kind::Float),
                x.count_nonzero(0),
                x.nansum(None::<&[i64]>, false, Kind::Float),
            ]
        }),
        ("views", |t, _| {
            let x = t(&[4, 6], 1);
            vec![
                x.narrow(1, 2, 3),
                x.view([3, 8]),
                x.tr(),
                x.transpose(0, 1).contiguous(),
                x.tr().reshape([24]),
                x.permute([1, 0]),
                x.unsqueeze(0).expand([2, 4, 6], false),
                x.select(0, 1),
                x.slice(1, 0, 6, 2),
                x.diagonal(0, 0, 1),
                x.unfold(1, 3, 2),
                x.flatten(0, 1),
                x.squeeze(),
                x.as_strided([2, 2], [6, 1], 3),
                x.chunk(2, 0)[1].shallow_clone(),
                x.split(2, 1)[2].shallow_clone(),
                x.unbind(0)[3].shallow_clone(),
                x.view_dtype(Kind::Int),
                x.repeat([2, 1]),
                x.repeat_interleave_self_int(2, 1, None),
                x.flip([1]),
                x.roll([1], [0]),
                x.tril(0),
                x.triu(1),
                Tensor::stack(&[&x, &x], 1),
                x.movedim_int(0, 1),
                x.constant_pad_nd([1, 1]),
                x.tile([2, 2]),
                x.unflatten(1, [2, 3]),
                x.diag(0),
                x.rot90(1, [0, 1]),
            ]
        }),
        ("writes through views", |t, _| {
            let x = t(&[4, 6], 1);
            let mut n = x.narrow(1, 2, 3);
            let _ = n.fill_(5.0);
            x.select(0, 0).copy_(&t(&[6], 9));
            let _ = x.tr().narrow(0, 0, 1).zero_();
            vec![x, n]
        }),
        ("in place", |t, _| {
            let mut x = t(&[4, 6], 1);
            let _ = x.g_add_(&t(&[4, 6], 2));
            let _ = x.addcmul_(&t(&[4, 6], 3), &t(&[4, 6], 4));
            let _ = x.addcdiv_(&t(&[4, 6], 3), &(t(&[4, 6], 4).abs() + 1.0));
            let _ = x.lerp_(&t(&[4, 6], 5), 0.3);
            let _ = x.clamp_(-2.0, 2.0);
            let _ = x.g_mul_scalar_(3.0);
            let _ = x.sqrt_().nan_to_num_(0.0, None, None);
            let mut y = x.zeros_like();
            y.copy_(&x);
            vec![x, y]
        }),
        ("resize and set", |t, _| {
            let mut x = t(&[2, 3], 1);
            let _ = x.resize_([1, 2]);
            let mut y = t(&[2], 1);
            let _ = y.resize_([2, 8]);
            let _ = y.fill_(1.0);
            let z = t(&[2], 1);
            let _ = z.set_source_tensor(&t(&[3, 3], 2));
            let out = Tensor::zeros([0], (Kind::Float, x.device()));
            let _ = t(&[3, 4], 1).matmul_out(&out, &t(&[4, 2], 2));
            let mut w = t(&[2], 1);
            w.set_data(&t(&[4], 2));
            vec![x, y, z, out, w]
        }),
        ("kinds", |t, d| {
            let x = t(&[4, 6], 1);
            let b = x.to_kind(Kind::BFloat16);
            vec![
                b.shallow_clone(),
                b.to_kind(Kind::Float),
                b.matmul(&b.tr()),
                &b + 1.0,
                (&x * 10.0).to_kind(Kind::Int64),
                x.gt(0.0),
                x.to_kind(Kind::Half),
                &b + &x,
                x.type_as(&b),
                (&x * 10.0).to_kind(Kind::Int8),
                Tensor::from_slice(&[1i64, 2]).to_device(d) / 2,
            ]
        }),
        ("elementwise", |t, _| {
            let (x, y) = (t(&[3, 4], 1), t(&[4], 2));
            vec![
                &x + &y,
                &x - 2.0,
                &x * &y,
                &x / &y,
                x.pow_tensor_scalar(2.0),
                x.abs().pow(&y),
                x.exp(),
                x.abs().log1p(),
                x.maximum(&y),
                x.eq_tensor(&y),
                x.lt_tensor(&y),
                x.logical_and(&y),
                x.sign(),
                x.round(),
                x.atan2(&y),
                -&x,
                x.rsub(&y),
                1.0 - &x,
                x.fmod(0.3),
                x.remainder(0.3),
                x.floor_divide_scalar(0.3),
                x.erf(),
                x.isnan(),
                x.isfinite(),
                x.addcmul(&y, &y),
                x.lerp(&t(&[3, 4], 5), 0.5),
                x.outer_or(&y),
            ]
        }),
        ("bits", |_, d| {
            let x = Tensor::arange(16, (Kind::Int, d));
            vec![
                x.bitwise_and(3),
                x.bitwise_or(8),
                x.bitwise_xor(5),
                x.bitwise_left_shift_tensor_scalar(2),
                x.bitwise_right_shift_tensor_scalar(1),
                x.bitwise_not(),
            ]
        }),
        ("misc", |t, d| {
            let x = t(&[4, 6], 1);
            let ids = Tensor::from_slice(&[1i64, 0, 1, 3]).to_device(d);
            vec![
                Tensor::cdist(&x, &t(&[3, 6], 2), 2.0, None::<i64>),
                ids.one_hot(5),
                ids.bincount::<Tensor>(None, 0),
                ids.unique2_first(),
                Tensor::cosine_similarity(&x, &t(&[4, 6], 2), 1, 1e-8),
                x.renorm(2.0, 0, 1.0),
                Tensor::repeat_interleave(&ids, None),
                x.histc(4),
                Tensor::meshgrid(&[&ids, &ids])[1].shallow_clone(),
                x.corrcoef(),
                ids.isin_of(&ids),
                x.bucketize(&x.view([24]).msort(), false, false),
                x.trace(),
                x.clone_to_cpu_and_back(),
            ]
        }),
        ("conv1d", |t, _| {
            vec![t(&[1, 2, 9], 1).conv1d(&t(&[3, 2, 3], 2), None::<Tensor>, [1], [1], [1], 1)]
        }),
        ("conv2d", |t, _| {
            vec![t(&[1, 2, 9, 9], 1).conv2d(
                &t(&[3, 2, 3, 3], 2),
                None::<Tensor>,
                [1, 1],
                [1, 1],
                [1, 1],
                1,
            )]
        }),
        ("batch norm", |t, _| {
            vec![t(&[4, 2, 3], 1).batch_norm(
                None::<Tensor>,
                None::<Tensor>,
                None::<Tensor>,
                None::<Tensor>,
                true,
                0.1,
                1e-5,
                false,
            )]
        }),
    ]
}

/// Names that tch spells differently or lacks, kept out of the table.
trait More {
    fn outer_or(&self, y: &Tensor) -> Tensor;
    fn unique2_first(&self) -> Tensor;
    fn isin_of(&self, y: &Tensor) -> Tensor;
    fn clone_to_cpu_and_back(&self) -> Tensor;
}
impl More for Tensor {
    fn outer_or(&self, y: &Tensor) -> Tensor {
        self.flatten(0, -1).outer(y)
    }
    fn unique2_first(&self) -> Tensor {
        self.internal_unique2(true, false, false).0
    }
    fn isin_of(&self, y: &Tensor) -> Tensor {
        Tensor::isin(self, y, false, false)
    }
    fn clone_to_cpu_and_back(&self) -> Tensor {
        self.to_device(Device::Cpu).to_device(self.device())
    }
}

#[test]
fn ops_match_the_cpu() {
    let _figures = fake_cuda::exclusive();
    let mut wrong = Vec::new();
    for (name, op) in cases() {
        let on = |d: Device| {
            catch_unwind(AssertUnwindSafe(|| {
                op(&|size, seed| float(seed, size).to_device(d), d)
            }))
        };
        let cpu = on(Device::Cpu);
        let cuda = on(CUDA);
        match (cpu, cuda) {
            (Ok(a), Ok(b)) => {
                for (i, (a, b)) in a.iter().zip(&b).enumerate() {
                    if b.device() != CUDA {
                        wrong.push(format!("{name} {i}: on {:?}", b.device()));
                    }
                    if let Err(e) = close(a, &b.to_device(Device::Cpu), 1e-5) {
                        wrong.push(format!("{name} {i}: {e}"));
                    }
                }
            }
            (Err(_), _) => wrong.push(format!("{name}: the CPU fails")),
            (_, Err(e)) => wrong.push(format!(
                "{name}: {}",
                e.downcast_ref::<String>()
                    .map_or("?", |s| s.lines().next().unwrap_or(""))
            )),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
