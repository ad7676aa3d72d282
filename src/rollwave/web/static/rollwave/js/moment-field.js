/**
 * Let a field with `data-moment` be filled in in the viewer's own zone. It goes to the server, and comes from it, in UTC,
 * which is what its label says to whoever runs no scripts.
 *
 * @param {Document} page
 */
export function fillMomentsHere(page) {
    for (const field of page.querySelectorAll("input[data-moment]")) {
        if (field instanceof HTMLInputElement && field.form) {
            fillHere(field, field.form);
        }
    }
}

/**
 * @param {HTMLInputElement} field
 * @param {HTMLFormElement} form
 */
function fillHere(field, form) {
    const given = field.value;
    const moment = new Date(/[zZ]|[+-]\d\d:\d\d$/.test(given) ? given : `${given}Z`);

    if (given && Number.isNaN(moment.getTime())) {
        // What is wrong with it is said beside it.
        return;
    }

    const label = field.labels?.[0];

    field.type = "datetime-local";
    field.value = given ? local(moment) : "";

    if (label?.dataset.here) {
        label.textContent = label.dataset.here;
    }

    form.addEventListener("formdata", ({ formData }) => {
        if (field.value) {
            formData.set(field.name, new Date(field.value).toISOString());
        }
    });
}

/** @param {Date} moment */
function local(moment) {
    return new Date(moment.getTime() - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
