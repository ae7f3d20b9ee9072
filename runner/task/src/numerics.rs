//! The numerics plan: what `prepare` fixes once per run, so that every trial computes the same bits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The device a user asks for. `Cuda` without a working device fails; it never falls back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeviceRequest {
    /// CUDA if it works, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA, or exit code 78.
    Cuda,
}

/// The class of device that computed something.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum DeviceClass {
    /// libtorch on the CPU.
    Cpu,
    /// libtorch on CUDA.
    Cuda,
}

/// The type that forward and backward passes compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Dtype {
    /// 32-bit floating point.
    Float32,
    /// bfloat16.
    BFloat16,
}

/// How the optimizer keeps the weights it trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OptimizerPrecision {
    /// A float32 master copy: 16 bytes a trained parameter under bfloat16, 16 under float32.
    Float32Masters,
    /// bfloat16 weights with stochastic rounding: 8 bytes a trained parameter.
    StochasticRounding,
}

/// Everything outside the spec that could change a bit of a trial's fitness (DESIGN §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NumericsPlan {
    /// The type of forward and backward passes.
    pub dtype: Dtype,
    /// Threads within one operation; from the spec, never from the machine.
    pub threads: u32,
    /// Sequences per forward pass while scoring.
    pub micro_batch_sequences: u32,
    /// Sequences whose `XᵀX` is summed before it is added to the Hessian: independent of how
    /// workers split the blocks.
    pub hessian_batch_sequences: u32,
    /// Tokens whose logits exist at one time.
    pub logit_chunk_tokens: u32,
    /// How the optimizer keeps its weights.
    pub optimizer_precision: OptimizerPrecision,
    /// The device class that the run was planned on.
    pub device_class: DeviceClass,
}

impl NumericsPlan {
    /// Threads of a CPU worker that names no CPU limit.
    pub const DEFAULT_THREADS: u32 = 2;

    /// The plan of a run on a class of devices.
    pub const fn of(class: DeviceClass, threads: u32) -> Self {
        match class {
            DeviceClass::Cpu => Self::cpu(threads),
            DeviceClass::Cuda => Self::cuda(threads),
        }
    }

    /// The plan of a CPU run: float32 throughout.
    pub const fn cpu(threads: u32) -> Self {
        Self {
            dtype: Dtype::Float32,
            threads,
            micro_batch_sequences: 1,
            hessian_batch_sequences: 4,
            logit_chunk_tokens: 256,
            optimizer_precision: OptimizerPrecision::Float32Masters,
            device_class: DeviceClass::Cpu,
        }
    }

    /// The plan of a CUDA run: bfloat16 passes over float32 masters.
    pub const fn cuda(threads: u32) -> Self {
        Self {
            dtype: Dtype::BFloat16,
            threads,
            micro_batch_sequences: 4,
            hessian_batch_sequences: 4,
            logit_chunk_tokens: 2048,
            optimizer_precision: OptimizerPrecision::Float32Masters,
            device_class: DeviceClass::Cuda,
        }
    }
}
