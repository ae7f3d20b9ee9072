//! How many floating-point operations a second a device can do at most, by its vendor's data sheet.

use darwinlm_task::Dtype;

/// Devices by the name that their driver gives them, with the float32 and the bfloat16 operations a
/// second of NVIDIA's data sheets, in units of 10¹²: dense (the sheets' figures "with sparsity" are
/// twice as large), float32 without TF32, which is not used here, bfloat16 by tensor cores. 0 where a
/// device has no such cores.
///
/// Names are compared whole: an A10G is no A10, and a part of a device (MIG) not the device.
const DEVICES: &[(&str, f64, f64)] = &[
    ("NVIDIA H200", 67.0, 989.0),
    ("NVIDIA H200 NVL", 60.0, 835.5),
    ("NVIDIA H100 80GB HBM3", 67.0, 989.0),
    ("NVIDIA H100 PCIe", 51.0, 756.0),
    ("NVIDIA H100 NVL", 60.0, 835.5),
    ("NVIDIA A100-SXM4-40GB", 19.5, 312.0),
    ("NVIDIA A100-SXM4-80GB", 19.5, 312.0),
    ("NVIDIA A100-PCIE-40GB", 19.5, 312.0),
    ("NVIDIA A100 80GB PCIe", 19.5, 312.0),
    ("NVIDIA L40S", 91.6, 362.0),
    ("NVIDIA L40", 90.5, 181.0),
    ("NVIDIA L4", 30.3, 121.0),
    ("NVIDIA A40", 37.4, 149.7),
    ("NVIDIA A30", 10.3, 165.0),
    ("NVIDIA A10", 31.2, 125.0),
    ("Tesla V100-SXM2-16GB", 15.7, 0.0),
    ("Tesla V100-SXM2-32GB", 15.7, 0.0),
    ("Tesla V100-PCIE-16GB", 14.0, 0.0),
    ("Tesla V100-PCIE-32GB", 14.0, 0.0),
    ("Tesla T4", 8.1, 0.0),
];

/// Operations a second at most; `None` where nobody has written them down, as of every CPU.
pub fn peak_flops(name: &str, dtype: Dtype) -> Option<f64> {
    let (_, float32, bfloat16) = DEVICES.iter().find(|(known, ..)| *known == name)?;
    let trillions = match dtype {
        Dtype::Float32 => *float32,
        Dtype::BFloat16 => *bfloat16,
    };
    (trillions > 0.0).then_some(trillions * 1e12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_known_by_its_whole_name_and_by_the_type_it_computes_in() {
        let (float32, bfloat16) = (Dtype::Float32, Dtype::BFloat16);
        assert_eq!(peak_flops("NVIDIA H100 80GB HBM3", bfloat16), Some(989e12));
        assert_eq!(peak_flops("NVIDIA H100 PCIe", bfloat16), Some(756e12));
        assert_eq!(peak_flops("NVIDIA L4", float32), Some(30.3e12));
        assert_eq!(peak_flops("Tesla V100-SXM2-16GB", bfloat16), None);
        for unknown in [
            "NVIDIA A10G",
            "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
            "Some CPU @ 2.00GHz",
            crate::device::UNKNOWN,
        ] {
            assert_eq!(peak_flops(unknown, float32), None, "{unknown}");
        }
    }

    #[test]
    fn each_device_stands_there_once_and_is_faster_where_it_has_tensor_cores() {
        for (index, (name, float32, bfloat16)) in DEVICES.iter().enumerate() {
            let before = &DEVICES[..index];
            assert!(before.iter().all(|(other, ..)| other != name), "{name}");
            assert!(*float32 > 0.0, "{name}");
            assert!(*bfloat16 == 0.0 || bfloat16 > float32, "{name}");
        }
    }
}
