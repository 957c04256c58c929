// @ts-check

/**
 * When a request may leave. Streamlit drops what a run of this element has not sent yet when the next one begins, and
 * then takes the element off the page until the next answer: so nothing leaves between the start of a run and its
 * answer.
 */
export class Turn {
  constructor() {
    this.free = true;
    /** @type {(() => void) | null} */
    this.work = null;
    this.timer = undefined;
    this.app = document.querySelector("[data-testid=stApp]");
    this.watch = new MutationObserver(() => {
      this.free = this.resting;
      this.go();
    });
    if (this.app) this.watch.observe(this.app, { attributes: true, attributeFilter: ["data-test-script-state"] });
  }

  get resting() {
    return this.app.getAttribute("data-test-script-state") === "notRunning";
  }

  answered() {
    this.free = true;
    this.go();
  }

  /** A run begins of which the page does not know yet. */
  hold() {
    this.free = !this.app;
  }

  /**
   * Only the newest request counts. One that no answer ever lets go leaves after three seconds all the same.
   * @param {() => void} work
   */
  take(work) {
    this.work = work;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.answered(), 3000);
    this.go();
  }

  go() {
    if (!this.free || !this.work) return;
    const work = this.work;
    clearTimeout(this.timer);
    this.work = null;
    this.free = !this.app;
    work();
  }

  close() {
    clearTimeout(this.timer);
    this.work = null;
    this.watch.disconnect();
  }
}
