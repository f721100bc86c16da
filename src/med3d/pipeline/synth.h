// A built-in cohort of generated patients: nobody real is in it, and its answer is known.
#pragma once

#include <cstdint>
#include <filesystem>

namespace med3d::pipeline {

// How strongly each modality carries the outcome. Patient p has independent latent severities
// s_clinical, s_ct, s_mri, s_wsi ~ N(0, 1); those who die within 12 months are the 12 % with the
// largest
//
//   risk = 0.55 s_clinical + 0.50 s_wsi + 0.45 s_ct + 0.45 s_mri + 0.20 noise
//
// whether or not the modality is then observed. A vector of a modality is a fixed non-negative
// pattern + 0.5 s on its first 32 values + noise (item noise and, on top, one shared by the
// patient). Columns grade, pT and stage rise with s_clinical; age does a little; everything else is
// noise. The table's codings are those of MMIST-ccRCC: -1 and blanks for missing,
// cancer_history 1.0 or blank. What is missing is missing at random: about 45 % of patients have
// CT, 10 % MRI, all 1 to 3 slides.
//
// Writes into `folder` (made if missing), in the layout of MMIST-ccRCC:
//   clinical+genomic_split.csv        20 columns, ids SYN-0001..., Split train/test 80/20
//   endpoints.csv                     case_id, OS, OS_days, PFI, PFI_days; agrees with the labels
//   Features/{CT,MRI,WSI} Features/   <case>-<n>.npz, arr_0 of (1,1,512,1) or (1,1024), float32
//   {CT,MRI,WSI}_patientfiles.csv     case_id, chosen_exam
//   SYNTHETIC.txt, cohort.toml        the marker, and settings with synthetic = true
//
// patients  20 to 9999
//
// Equal arguments give equal bytes, also where a synthetic cohort stood before: its items are
// removed. Throws Error(kUsage) for another number of patients, and for a folder that holds such a
// cohort without the marker; kIo.
void write_synthetic_cohort(const std::filesystem::path& folder,
                            int patients = 240,
                            std::uint64_t seed = 5);

}  // namespace med3d::pipeline
