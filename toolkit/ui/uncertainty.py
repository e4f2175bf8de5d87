"""What the Evaluate page shows of announced error bars beside the errors that were found."""

from __future__ import annotations

import streamlit as st

from toolkit.figures.uncertainty import calibration_plot
from toolkit.jobs.run_dir import Run
from toolkit.jobs.uncertainty import read_check
from toolkit.ui.page import SVG, plain, show_numbers


def show_uncertainty(run: Run) -> None:
    """Calibration of the force uncertainty on the frames of an evaluation, when the model has one."""
    found = read_check(run.path)
    if found is None:
        return
    st.subheader("Error bars of the forces")
    if "refused" in found:
        st.warning(plain(found["refused"]))
        return
    forces = found["forces"]
    show_numbers({"Error ÷ σ (RMS)": f"{forces['z_std']:.2f} ± {forces['z_std_stderr']:.2f}",
                  "Within the 90 % interval": f"{100.0 * forces['observed'][forces['expected'].index(0.9)]:.1f} %",
                  "Rank correlation of σ and error": f"{forces['spearman'] or 0.0:.2f}",
                  "Calibration error (ENCE)": f"{100.0 * forces['ence']:.0f} %"})
    st.plotly_chart(calibration_plot({"forces": forces}), key="evaluate.uncertainty", config=SVG)
    st.caption("Left: atoms sorted by the σ that was predicted for them, in bins of equally many; points above the "
               "line are errors larger than announced. Right: how many components lie within the central interval of a "
               "normal distribution. σ comes from the last layer, calibrated on validation frames. Far from all that "
               "the model was trained on σ grows, but less than the error does.")
