//! What the stand-in is for: devices told apart, memory capped, reads counted.
#![allow(clippy::unwrap_used)]

use tch::{Cuda, Device, Kind, TchError, Tensor};

const CUDA: Device = Device::Cuda(0);

#[test]
fn it_is_visible() {
    let _figures = fake_cuda::exclusive();
    assert!(Cuda::is_available());
    assert_eq!(Cuda::device_count(), 1);
    assert_eq!(Device::cuda_if_available(), CUDA);
    assert!(!Cuda::cudnn_is_available());
    Cuda::synchronize(0);
    assert_eq!(fake_cuda::syncs(), 1);
    assert!(Tensor::f_zeros([1], (Kind::Float, Device::Cuda(1))).is_err());
}

#[test]
fn mixed_devices_are_refused() {
    let _figures = fake_cuda::exclusive();
    let (a, b) = (
        Tensor::ones([2, 2], (Kind::Float, CUDA)),
        Tensor::ones([2, 2], (Kind::Float, Device::Cpu)),
    );
    let ids = Tensor::zeros([2], (Kind::Int64, Device::Cpu));
    let mut c = b.copy();
    let refused: Vec<(&str, Result<Tensor, TchError>)> = vec![
        ("add", a.f_add(&b)),
        ("add, other order", b.f_add(&a)),
        ("matmul", a.f_matmul(&b)),
        ("linear", a.f_linear(&b, None::<Tensor>)),
        ("cat", Tensor::f_cat(&[&a, &b], 0)),
        ("stack", Tensor::f_stack(&[&a, &b], 0)),
        ("embedding", Tensor::f_embedding(&a, &ids, -1, false, false)),
        ("index_select", a.f_index_select(0, &ids)),
        ("gather", a.f_gather(0, &ids.view([2, 1]), false)),
        ("in place", c.f_add_(&a)),
        ("where", a.f_where_self(&b.gt(0.0), &a)),
        (
            "attention",
            Tensor::f_scaled_dot_product_attention(
                &a.view([1, 1, 2, 2]),
                &b.view([1, 1, 2, 2]),
                &a.view([1, 1, 2, 2]),
                None::<Tensor>,
                0.0,
                true,
                None,
                false,
            ),
        ),
        (
            "layer_norm",
            a.f_layer_norm([2], Some(b.select(0, 0)), None::<Tensor>, 1e-5, false),
        ),
        (
            "cross_entropy",
            a.f_cross_entropy_loss(&ids, None::<Tensor>, tch::Reduction::Mean, -100, 0.0),
        ),
        ("addcmul", a.f_addcmul(&b, &a)),
        (
            "masked_fill",
            a.f_masked_fill_tensor(&b.gt(0.0), &a.sum(Kind::Float)),
        ),
        ("lerp", a.f_lerp_tensor(&b, &a)),
        ("solve", a.f_linalg_solve_triangular(&b, false, true, false)),
        (
            "indexed by device ids",
            b.f_index(&[Some(ids.to_device(CUDA))]),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, result) in refused {
        match result {
            Ok(t) => wrong.push(format!("{name} gave {t:?}")),
            Err(TchError::Torch(text)) => {
                println!("{name}: {}", text.lines().next().unwrap_or(""));
                if !text.contains("same device") && !text.contains("indices should be either on") {
                    wrong.push(format!("{name}: {text}"))
                }
            }
            Err(e) => wrong.push(format!("{name}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // As on a GPU: a CPU scalar may join in, and indices may live on the CPU.
    assert_eq!((&a + Tensor::from(1.0f32)).device(), CUDA);
    assert_eq!(a.index(&[Some(ids)]).device(), CUDA);
}

#[test]
fn what_a_gpu_lacks_is_refused() {
    let _figures = fake_cuda::exclusive();
    let i = Tensor::ones([2, 2], (Kind::Int64, CUDA));
    for result in [
        i.f_matmul(&i),
        i.view([1, 2, 2]).f_bmm(&i.view([1, 2, 2])),
        i.f_mv(&i.select(0, 0)),
        i.select(0, 0).f_dot(&i.select(0, 0)),
    ] {
        assert!(
            matches!(&result, Err(TchError::Torch(text)) if text.contains("not implemented for 'Long'")),
            "{result:?}"
        );
    }
    let x = Tensor::ones([4], (Kind::Float, CUDA));
    assert!(
        x.f_histogram_bin_ct(3, [0.0, 1.0], None::<Tensor>, false)
            .is_err()
    );
    assert_eq!(i.mode(0, false).0.device(), CUDA);
}

/// tch 0.24 drops its scalar argument before it looks at the error, and that drop panics.
#[test]
fn with_a_scalar_argument_the_error_arrives_as_a_panic() {
    let _figures = fake_cuda::exclusive();
    let a = Tensor::ones([1024], (Kind::Float, CUDA));
    fake_cuda::set_limit(Some(fake_cuda::current() + 512));
    let caught = std::panic::catch_unwind(|| a.f_add_scalar(1.0)).unwrap_err();
    assert!(
        caught
            .downcast_ref::<String>()
            .unwrap()
            .contains("CUDA out of memory")
    );
    fake_cuda::set_limit(None);
    assert_eq!((&a + 1.0).double_value(&[0]), 2.0);
}

#[test]
fn the_cap_is_an_error() {
    let _figures = fake_cuda::exclusive();
    let start = fake_cuda::current();
    let a = Tensor::ones([1024], (Kind::Float, CUDA));
    assert_eq!(fake_cuda::current() - start, 4096);
    fake_cuda::set_limit(Some(start + 16 * 1024));
    let oom = |r: Result<Tensor, TchError>| match r {
        Err(TchError::Torch(text)) => assert!(text.contains("CUDA out of memory"), "{text}"),
        other => panic!("{other:?}"),
    };
    oom(Tensor::f_zeros([1 << 20], (Kind::Float, CUDA)));
    oom(Tensor::f_zeros([1 << 40], (Kind::Float, CUDA)));
    oom(a.f_repeat([4]));
    oom(a.f_outer(&a));
    oom(Tensor::zeros([1 << 20], (Kind::Float, Device::Cpu)).f_to_device(CUDA));
    oom(a.shallow_clone().f_resize_([1 << 20]));
    assert_eq!(
        fake_cuda::current() - start,
        4096,
        "a refused allocation left something behind"
    );
    let b = &a + 1.0;
    drop((a, b));
    assert_eq!(fake_cuda::current(), start);
    assert_eq!(fake_cuda::peak() - start, 8192);
    fake_cuda::set_limit(None);
    let _ = Tensor::zeros([1 << 20], (Kind::Float, CUDA));
}

#[test]
fn one_refused_allocation_is_an_error_and_the_next_one_works() {
    let _figures = fake_cuda::exclusive();
    let start = fake_cuda::current();
    let a = Tensor::ones([1024], (Kind::Float, CUDA));
    fake_cuda::refuse_allocation(2);
    let b = a.f_sqrt().unwrap();
    let refused = a.f_sqrt().unwrap_err().to_string();
    assert!(refused.contains("CUDA out of memory"), "{refused}");
    let c = a.f_sqrt().unwrap();
    assert_eq!(fake_cuda::current() - start, 3 * 4096);
    assert_eq!(fake_cuda::allocations(), 4);
    drop((a, b, c));
}

#[test]
fn host_reads_are_counted() {
    let _figures = fake_cuda::exclusive();
    let a = Tensor::ones([4, 4], (Kind::Float, CUDA));
    let ids = Tensor::zeros([2], (Kind::Int64, CUDA));
    let one = Tensor::from(1.0f32);
    type Case<'a> = (&'a str, u64, Box<dyn Fn() + 'a>);
    let cases: Vec<Case> = vec![
        (
            "item",
            1,
            Box::new(|| {
                a.double_value(&[0, 0]);
            }),
        ),
        (
            "matmul",
            0,
            Box::new(|| {
                let _ = a.matmul(&a);
            }),
        ),
        (
            "to cpu",
            1,
            Box::new(|| {
                let _ = a.to_device(Device::Cpu);
            }),
        ),
        (
            "to vec",
            1,
            Box::new(|| {
                let _ = Vec::<f32>::try_from(a.view([16])).unwrap();
            }),
        ),
        (
            "upload",
            0,
            Box::new(|| {
                let _ = one.to_device(CUDA);
            }),
        ),
        (
            "host scalar",
            0,
            Box::new(|| {
                let _ = &a * &one;
            }),
        ),
        (
            "nonzero",
            1,
            Box::new(|| {
                let _ = a.nonzero();
            }),
        ),
        (
            "mask index",
            1,
            Box::new(|| {
                let _ = a.index(&[Some(a.gt(0.0))]);
            }),
        ),
        (
            "masked_select",
            1,
            Box::new(|| {
                let _ = a.masked_select(&a.gt(0.0));
            }),
        ),
        (
            "masked_fill",
            0,
            Box::new(|| {
                let _ = a.masked_fill(&a.gt(0.0), 0.0);
            }),
        ),
        (
            "where",
            0,
            Box::new(|| {
                let _ = a.where_self(&a.gt(0.0), &a);
            }),
        ),
        (
            "mask put",
            1,
            Box::new(|| {
                let _ = a
                    .copy()
                    .index_put_(&[Some(a.gt(0.0))], &a.sum(Kind::Float), false);
            }),
        ),
        (
            "mask put of a host scalar",
            0,
            Box::new(|| {
                let _ = a.copy().index_put_(&[Some(a.gt(0.0))], &one, false);
            }),
        ),
        (
            "id put",
            0,
            Box::new(|| {
                let _ = a
                    .copy()
                    .index_put_(&[Some(&ids)], &a.sum(Kind::Float), false);
            }),
        ),
        (
            "equal",
            1,
            Box::new(|| {
                let _ = a.equal(&a);
            }),
        ),
        (
            "allclose",
            1,
            Box::new(|| {
                let _ = a.allclose(&a, 0.0, 0.0, false);
            }),
        ),
        (
            "unique",
            1,
            Box::new(|| {
                let _ = a.internal_unique2(true, false, false);
            }),
        ),
        (
            "repeat_interleave",
            1,
            Box::new(|| {
                let _ = Tensor::repeat_interleave(&ids, None);
            }),
        ),
        (
            "repeat_interleave, size known",
            0,
            Box::new(|| {
                let _ = Tensor::repeat_interleave(&ids, 0);
            }),
        ),
        (
            "cholesky",
            1,
            Box::new(|| {
                let _ = (Tensor::eye(4, (Kind::Float, CUDA))).linalg_cholesky(false);
            }),
        ),
        (
            "cholesky_ex",
            0,
            Box::new(|| {
                let _ = (Tensor::eye(4, (Kind::Float, CUDA))).linalg_cholesky_ex(false, false);
            }),
        ),
        (
            "topk",
            0,
            Box::new(|| {
                let _ = a.topk(2, -1, true, true);
            }),
        ),
        (
            "one_hot, classes known",
            0,
            Box::new(|| {
                let _ = ids.one_hot(4);
            }),
        ),
        (
            "attention",
            0,
            Box::new(|| {
                let q = a.view([1, 1, 4, 4]);
                let _ = Tensor::scaled_dot_product_attention(
                    &q,
                    &q,
                    &q,
                    None::<Tensor>,
                    0.0,
                    true,
                    None,
                    false,
                );
            }),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, expected, f) in cases {
        fake_cuda::reset();
        f();
        if fake_cuda::host_reads() != expected {
            wrong.push(format!(
                "{name}: {} reads, last by {}",
                fake_cuda::host_reads(),
                fake_cuda::last_host_read()
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    fake_cuda::reset();
    let _ = one.to_device(CUDA);
    assert_eq!(fake_cuda::uploads(), 1);
}

#[test]
fn draws_are_seeded_and_leave_the_cpu_generator_alone() {
    let _figures = fake_cuda::exclusive();
    let draw = |d| Tensor::randn([8], (Kind::Float, d)).to_device(Device::Cpu);
    tch::manual_seed(5);
    let (g1, c1) = (draw(CUDA), draw(Device::Cpu));
    tch::manual_seed(5);
    let c2 = draw(Device::Cpu);
    let g2 = draw(CUDA);
    assert_eq!(g1, g2);
    assert_eq!(c1, c2);
    for t in [
        Tensor::rand([8], (Kind::Float, CUDA)),
        Tensor::randint(9, [8], (Kind::Int64, CUDA)),
        Tensor::randperm(8, (Kind::Int64, CUDA)),
        g1.to_device(CUDA).sigmoid().bernoulli(),
        g1.to_device(CUDA).abs().multinomial(3, false),
        g1.to_device(CUDA).dropout(0.5, true),
        g1.to_device(CUDA).rand_like().normal_(0.0, 1.0),
    ] {
        assert_eq!(t.device(), CUDA);
    }
}

#[test]
fn files_and_printing() {
    let _figures = fake_cuda::exclusive();
    let a = Tensor::arange(6, (Kind::Float, CUDA)).view([2, 3]);
    assert!(format!("{a}").contains('5'));
    let mut bytes = Vec::new();
    a.save_to_stream(&mut bytes).unwrap();
    let b = Tensor::load_from_stream(std::io::Cursor::new(&bytes)).unwrap();
    println!("{:?} {:?}", b.device(), b);
    assert_eq!(b.to_device(Device::Cpu), a.to_device(Device::Cpu));
    let pinned = Tensor::ones([4], (Kind::Float, Device::Cpu)).pin_memory(CUDA);
    assert_eq!(
        pinned.to_device(CUDA).sum(Kind::Float).double_value(&[]),
        4.0
    );
}

/// Run in a child process: following a device pointer on the host ends the program.
#[test]
#[ignore = "not a test: it crashes, and the one below sees how"]
fn follow_a_device_pointer() {
    let _figures = fake_cuda::exclusive();
    let a = Tensor::ones([4], (Kind::Float, CUDA));
    println!("read {}", unsafe { *(a.data_ptr() as *const f32) });
}

#[test]
fn device_pointers_fault_on_the_host() {
    use std::os::unix::process::ExitStatusExt;
    let out = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "follow_a_device_pointer"])
        .output()
        .unwrap();
    assert_eq!(
        out.status.signal(),
        Some(11),
        "{}",
        String::from_utf8_lossy(&out.stdout)
    );
}
