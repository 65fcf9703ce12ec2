/** Listing — entries that the daemon returns in pages, fetched while they are iterated over. */

/** One page. */
export interface Page<Item> {
  items: Item[];
  /** Pass it as `pageToken` to continue after this page; `''` on the last one. */
  nextPageToken: string;
}

/** A list that is fetched in pages: `for await` gives its entries. */
export class Listing<Item> implements AsyncIterable<Item> {
  /** @internal */
  constructor(
    private readonly fetchPage: (pageToken: string) => Promise<Page<Item>>,
    private readonly firstPageToken = '',
  ) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void> {
    for await (const page of this.pages()) yield* page.items;
  }

  /** Yields whole pages. */
  async *pages(): AsyncGenerator<Page<Item>, void> {
    let pageToken = this.firstPageToken;
    do {
      const page = await this.fetchPage(pageToken);
      yield page;
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
  }

  /** Fetches every page. */
  async toArray(): Promise<Item[]> {
    const items: Item[] = [];
    for await (const page of this.pages()) items.push(...page.items);
    return items;
  }
}
