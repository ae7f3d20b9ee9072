//! A small transformer block trained by hand goes the same way on the stand-in as on the CPU.
#![allow(clippy::unwrap_used)]

use tch::{Device, Kind, Reduction, TchError, Tensor, nn, nn::OptimizerConfig};

const CUDA: Device = Device::Cuda(0);
const D: i64 = 16;
const HEADS: i64 = 4;
const VOCABULARY: i64 = 11;
const T: i64 = 7;

struct Model {
    parameters: Vec<Tensor>,
    moments: Vec<(Tensor, Tensor)>,
}

fn draw(size: &[i64], seed: i64) -> Tensor {
    let n: i64 = size.iter().product();
    let x =
        (Tensor::arange(n, (Kind::Double, Device::Cpu)) * 12.9898 + seed as f64).sin() * 43758.5453;
    (x.frac() * 0.3).to_kind(Kind::Float).view(size)
}

impl Model {
    fn new(device: Device) -> Model {
        let shapes: [&[i64]; 9] = [
            &[VOCABULARY, D],
            &[D],
            &[D, D],
            &[D / 2, D],
            &[D / 2, D],
            &[D, D],
            &[D],
            &[2 * D, D],
            &[D, D],
        ];
        let parameters: Vec<Tensor> = shapes
            .iter()
            .enumerate()
            .map(|(i, s)| draw(s, i as i64).to_device(device).set_requires_grad(true))
            .collect();
        let moments = parameters
            .iter()
            .map(|p| (p.zeros_like(), p.zeros_like()))
            .collect();
        Model {
            parameters,
            moments,
        }
    }

    fn loss(&self, ids: &Tensor, targets: &Tensor, kind: Kind) -> Tensor {
        let device = ids.device();
        let p: Vec<Tensor> = self.parameters.iter().map(|p| p.to_kind(kind)).collect();
        let rms = |x: &Tensor, w: &Tensor| {
            let f = x.to_kind(Kind::Float);
            (&f * (f.square().mean_dim([-1i64].as_slice(), true, Kind::Float) + 1e-6).rsqrt())
                .to_kind(kind)
                * (w + 1.0)
        };
        let half = D / HEADS / 2;
        let angle = Tensor::arange(T, (Kind::Float, device))
            .outer(&(Tensor::arange(half, (Kind::Float, device)) * -1.5).exp());
        let angle = Tensor::cat(&[&angle, &angle], -1);
        let (cos, sin) = (angle.cos().to_kind(kind), angle.sin().to_kind(kind));
        let rotate = |x: &Tensor| {
            x * &cos + Tensor::cat(&[-x.narrow(-1, half, half), x.narrow(-1, 0, half)], -1) * &sin
        };
        let heads = |x: &Tensor, n: i64| x.view([1, T, n, D / HEADS]).transpose(1, 2);

        let x = Tensor::embedding(&p[0], ids, -1, false, false);
        let h = rms(&x, &p[1]);
        let q = rotate(&heads(&h.linear(&p[2], None::<Tensor>), HEADS));
        let k = rotate(&heads(&h.linear(&p[3], None::<Tensor>), HEADS / 2));
        let v = heads(&h.linear(&p[4], None::<Tensor>), HEADS / 2);
        let a =
            Tensor::scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, true, None, true);
        let x = x + a
            .transpose(1, 2)
            .reshape([1, T, D])
            .linear(&p[5], None::<Tensor>);
        let h = rms(&x, &p[6]).linear(&p[7], None::<Tensor>);
        let x = x + (h.narrow(-1, 0, D).silu() * h.narrow(-1, D, D)).linear(&p[8], None::<Tensor>);
        let logits = x
            .linear(&p[0], None::<Tensor>)
            .view([T, VOCABULARY])
            .to_kind(Kind::Float);
        logits.cross_entropy_loss(targets, None::<Tensor>, Reduction::Mean, -100, 0.0)
    }

    /// One AdamW step that never asks for a value.
    fn step(&mut self, step: i32) {
        let _no_grad = tch::no_grad_guard();
        let gradients: Vec<Tensor> = self.parameters.iter().map(|p| p.grad()).collect();
        let norms: Vec<Tensor> = gradients
            .iter()
            .map(|g| g.square().sum(Kind::Float))
            .collect();
        let clip = (Tensor::stack(&norms, 0).sum(Kind::Float).sqrt() + 1e-6)
            .reciprocal()
            .clamp_max(1.0);
        let (c1, c2) = (1.0 - 0.9f64.powi(step), 1.0 - 0.95f64.powi(step));
        for ((p, g), (m, v)) in self
            .parameters
            .iter_mut()
            .zip(&gradients)
            .zip(&mut self.moments)
        {
            let g = g * &clip;
            let _ = m.lerp_(&g, 0.1);
            let _ = v.g_mul_scalar_(0.95);
            let _ = v.addcmul_(&g, &(&g * 0.05));
            let _ = p.g_mul_scalar_(1.0 - 1e-2 * 0.1);
            let _ = p.addcdiv_(&(&*m * (-1e-2 / c1)), &((&*v / c2).sqrt() + 1e-8));
            p.zero_grad();
        }
    }
}

fn run(device: Device, kind: Kind, steps: i32) -> (Vec<f64>, Model) {
    let ids = Tensor::from_slice(&[1i64, 4, 2, 8, 5, 7, 3]).to_device(device);
    let targets = Tensor::from_slice(&[4i64, 2, 8, 5, 7, 3, -100]).to_device(device);
    let mut model = Model::new(device);
    let mut losses = Vec::new();
    for s in 1..=steps {
        let loss = model.loss(&ids, &targets, kind);
        loss.backward();
        model.step(s);
        losses.push(loss.detach());
    }
    let values = losses.iter().map(|l| l.double_value(&[])).collect();
    (values, model)
}

fn compare(kind: Kind, tolerance: f64) {
    let (cpu, a) = run(Device::Cpu, kind, 5);
    let (cuda, b) = run(CUDA, kind, 5);
    println!("{kind:?}: cpu {cpu:?} stand-in {cuda:?}");
    assert!(cpu[4] < cpu[0] - 0.01);
    for (x, y) in cpu.iter().zip(&cuda) {
        assert!((x - y).abs() <= tolerance, "{cpu:?} against {cuda:?}");
    }
    for (i, (x, y)) in a.parameters.iter().zip(&b.parameters).enumerate() {
        assert_eq!(y.device(), CUDA);
        let d = (x - y.to_device(Device::Cpu)).abs().max().double_value(&[]);
        assert!(d <= tolerance, "parameter {i} differs by {d:e}");
    }
}

#[test]
fn float32_training_matches_the_cpu() {
    let _figures = fake_cuda::exclusive();
    compare(Kind::Float, 1e-5);
}

#[test]
fn bfloat16_training_matches_the_cpu() {
    let _figures = fake_cuda::exclusive();
    compare(Kind::BFloat16, 1e-5);
}

#[test]
fn a_step_reads_nothing_back() {
    let _figures = fake_cuda::exclusive();
    let ids = Tensor::zeros([T], (Kind::Int64, CUDA));
    let mut model = Model::new(CUDA);
    fake_cuda::reset();
    let loss = model.loss(&ids, &ids, Kind::Float);
    loss.backward();
    model.step(1);
    assert_eq!(
        fake_cuda::host_reads(),
        0,
        "read by {}",
        fake_cuda::last_host_read()
    );
    assert_eq!(fake_cuda::uploads(), 0);
    loss.double_value(&[]);
    assert_eq!(fake_cuda::host_reads(), 1);
}

#[test]
fn autocast_reaches_device_tensors() {
    let _figures = fake_cuda::exclusive();
    let a = draw(&[4, 4], 1).to_device(CUDA);
    let b = tch::autocast(true, || a.matmul(&a));
    // tch cannot choose the type; libtorch's default for CUDA is half.
    assert_eq!(b.kind(), Kind::Half);
    let c = tch::autocast(true, || b.softmax(-1, None));
    assert_eq!(c.kind(), Kind::Float);
    let w = draw(&[4, 4], 2).to_device(CUDA).set_requires_grad(true);
    tch::autocast(true, || {
        a.matmul(&w).cross_entropy_loss(
            &a.softmax(-1, Kind::Float),
            None::<Tensor>,
            Reduction::Mean,
            -100,
            0.0,
        )
    })
    .backward();
    assert_eq!(w.grad().kind(), Kind::Float);
}

#[test]
fn running_out_in_backward_is_an_error_and_leaves_nothing() {
    let _figures = fake_cuda::exclusive();
    let start = fake_cuda::current();
    {
        let w = draw(&[64, 64], 1).to_device(CUDA).set_requires_grad(true);
        let loss = w.matmul(&w).silu().matmul(&w).square().sum(Kind::Float);
        fake_cuda::set_limit(Some(fake_cuda::current() + 20_000));
        match loss.f_backward() {
            Err(TchError::Torch(text)) => assert!(text.contains("CUDA out of memory"), "{text}"),
            other => panic!("{other:?}"),
        }
        fake_cuda::set_limit(None);
        let loss = w.matmul(&w).silu().matmul(&w).square().sum(Kind::Float);
        loss.backward();
        assert!(w.grad().isfinite().all().double_value(&[]) > 0.0);
    }
    assert_eq!(fake_cuda::current(), start);
}

#[test]
fn fused_attention_holds_no_square_matrix() {
    let _figures = fake_cuda::exclusive();
    let x = Tensor::ones([1, 2, 512, 16], (Kind::Float, CUDA)).set_requires_grad(true);
    fake_cuda::reset();
    let before = fake_cuda::current();
    Tensor::scaled_dot_product_attention(&x, &x, &x, None::<Tensor>, 0.0, true, None, false)
        .sum(Kind::Float)
        .backward();
    let square = 2 * 512 * 512 * 4;
    assert!(
        fake_cuda::peak() - before < square / 2,
        "{}",
        fake_cuda::peak() - before
    );
}

#[test]
fn var_stores_and_optimizers_work() {
    let _figures = fake_cuda::exclusive();
    let mut vs = nn::VarStore::new(CUDA);
    let layer = nn::linear(vs.root() / "a", 8, 4, Default::default());
    let mut optimizer = nn::adamw(0.9, 0.95, 0.1).build(&vs, 1e-2).unwrap();
    let x = Tensor::randn([16, 8], (Kind::Float, CUDA));
    let y = Tensor::randint(4, [16], (Kind::Int64, CUDA));
    let loss = || x.apply(&layer).cross_entropy_for_logits(&y);
    let first = loss().double_value(&[]);
    for _ in 0..20 {
        optimizer.backward_step_clip_norm(&loss(), 1.0);
    }
    assert!(loss().double_value(&[]) < first);
    let file = std::env::temp_dir().join(format!("fake-cuda-{}.safetensors", std::process::id()));
    vs.save(&file).unwrap();
    let last = loss().double_value(&[]);
    let no_grad = tch::no_grad_guard();
    for mut weight in vs.trainable_variables() {
        let _ = weight.zero_();
    }
    drop(no_grad);
    vs.load(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(loss().double_value(&[]), last);
}

#[test]
fn unwritten_memory_is_not_zero() {
    let _figures = fake_cuda::exclusive();
    assert!(
        Tensor::empty([4], (Kind::Float, CUDA))
            .isnan()
            .all()
            .double_value(&[])
            > 0.0
    );
}

#[test]
fn gradients_of_half_softmax_match_the_cpu() {
    let _figures = fake_cuda::exclusive();
    let run = |device, kind| {
        let x = draw(&[3, 5], 1)
            .to_kind(kind)
            .to_device(device)
            .set_requires_grad(true);
        let (a, b) = (x.softmax(-1, Kind::Float), x.log_softmax(-1, Kind::Float));
        (a * &b + b.square()).sum(Kind::Float).backward();
        x.grad().to_device(Device::Cpu).to_kind(Kind::Float)
    };
    for kind in [Kind::Half, Kind::BFloat16] {
        let worst = (run(Device::Cpu, kind) - run(CUDA, kind))
            .abs()
            .max()
            .double_value(&[]);
        assert!(worst < 1e-2, "{kind:?} differs by {worst}");
    }
}
