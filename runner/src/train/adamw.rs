//! AdamW with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101) on float32 weights.

use tch::Tensor;

use super::TrainError;
use crate::no_grad::no_grad;

/// Constants of the optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWSettings {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of every weight, relative to the step size.
    pub weight_decay: f64,
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the root of the mean squared gradient.
    pub epsilon: f64,
}

impl AdamWSettings {
    /// The paper's constants: β 0.9 and 0.999, ε 1e-8.
    pub const fn new(learning_rate: f64, weight_decay: f64) -> Self {
        Self {
            learning_rate,
            weight_decay,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

/// The optimizer's state: two moments per weight.
#[derive(Debug)]
pub struct AdamW {
    settings: AdamWSettings,
    weights: Vec<Tensor>,
    means: Vec<Tensor>,
    squares: Vec<Tensor>,
    steps: i32,
}

impl AdamW {
    /// A fresh state for leaf weights; the tensors are shared, not copied.
    pub fn new(weights: Vec<Tensor>, settings: AdamWSettings) -> Result<Self, TrainError> {
        let zeros = |weight: &Tensor| weight.detach().f_zeros_like();
        let means = weights.iter().map(zeros).collect::<Result<_, _>>()?;
        let squares = weights.iter().map(zeros).collect::<Result<_, _>>()?;
        Ok(Self {
            settings,
            weights,
            means,
            squares,
            steps: 0,
        })
    }

    /// The mean gradients and the mean squared gradients, in the order of the weights.
    pub fn moments(&self) -> (&[Tensor], &[Tensor]) {
        (&self.means, &self.squares)
    }

    /// Goes on as after so many steps, once the moments of that time are written into
    /// [`AdamW::moments`].
    pub fn resume_after(&mut self, steps: i32) {
        self.steps = steps;
    }

    /// The step size from the next step on.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.settings.learning_rate = learning_rate;
    }

    /// Shortens all gradients together to the norm `most` if they are longer (Pascanu et al., arXiv
    /// 1211.5063). Nothing is read back from the device.
    pub fn clip(&self, most: f64) -> Result<(), TrainError> {
        no_grad(|| {
            let mut gradients: Vec<Tensor> = self.weights.iter().map(Tensor::grad).collect();
            gradients.retain(Tensor::defined);
            let norms = gradients
                .iter()
                .map(|gradient| gradient.f_norm())
                .collect::<Result<Vec<_>, _>>()?;
            let norm = Tensor::f_stack(&norms, 0)?.f_norm()?;
            // by at most 1; the small number keeps a gradient of zero what it is
            let factor = (norm + 1e-6).f_reciprocal()?.f_mul_scalar(most)?;
            let factor = factor.f_clamp_max(1.0)?;
            for gradient in &mut gradients {
                let _ = gradient.f_mul_(&factor)?;
            }
            Ok(())
        })
    }

    /// One step along the gradients, which are cleared.
    pub fn step(&mut self) -> Result<(), TrainError> {
        self.steps += 1;
        let AdamWSettings {
            learning_rate,
            weight_decay,
            beta1,
            beta2,
            epsilon,
        } = self.settings;
        let mean_scale = 1.0 / (1.0 - beta1.powi(self.steps));
        let square_scale = 1.0 / (1.0 - beta2.powi(self.steps));
        let moments = self.means.iter_mut().zip(&mut self.squares);
        no_grad(|| {
            for (weight, (mean, square)) in self.weights.iter_mut().zip(moments) {
                let mut gradient = weight.grad();
                if !gradient.defined() {
                    continue;
                }
                let _ = mean
                    .f_mul_scalar_(beta1)?
                    .f_add_(&(&gradient * (1.0 - beta1)))?;
                let squared = gradient.f_square()?.f_mul_scalar_(1.0 - beta2)?;
                let _ = square.f_mul_scalar_(beta2)?.f_add_(&squared)?;
                let mut root = square.f_mul_scalar(square_scale)?.f_sqrt()?;
                let _ = root.f_add_scalar_(epsilon)?;
                let mut step = mean.f_div(&root)?;
                let _ = step.f_mul_scalar_(-learning_rate * mean_scale)?;
                let _ = weight
                    .f_mul_scalar_(1.0 - learning_rate * weight_decay)?
                    .f_add_(&step)?;
                let _ = gradient.f_zero_()?;
            }
            Ok(())
        })
    }
}
